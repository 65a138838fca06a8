//! The ids of new rows: version 5 of RFC 4122, of our key. The server takes versions 1 to 5 and no later one.

use ring::digest;

/// The namespace of our ids; made once, at random.
const NAMESPACE: [u8; 16] =
    [0x8c, 0x3f, 0x1b, 0x52, 0x0e, 0x7d, 0x4a, 0x64, 0x9b, 0x2a, 0x51, 0xd0, 0x6e, 0x3c, 0xf7, 0x18];

/// Returns the id of the row that carries a key.
pub(super) fn of_key(key: &str) -> String {
    uuid(NAMESPACE, key.as_bytes())
}

fn uuid(namespace: [u8; 16], name: &[u8]) -> String {
    // RFC 4122 asks for SHA-1; it is a name here, not a seal.
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(&namespace);
    context.update(name);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_standard() {
        // RFC 4122, the namespace of domain names, and the example that its errata give for version 5.
        let dns = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
        assert_eq!(uuid(dns, b"www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        assert_eq!(of_key("wb-1"), of_key("wb-1"));
        assert_ne!(of_key("wb-1"), of_key("wb-2"));
        assert_eq!(of_key("wb-1").as_bytes()[14], b'5');
    }
}
