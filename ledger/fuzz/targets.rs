// What the fuzz targets do with arbitrary bytes: nothing may panic, and nothing may ask for memory without bound. The
// normal tests run the same for a moment (tests/fuzz.rs).

/// Takes a block apart and asks for everything that it holds.
pub(crate) fn block(data: &[u8]) {
    let Ok(block) = waybill_ledger::block::Block::parse(data.to_vec()) else { return };
    for index in 0..block.header.events {
        let _ = block.envelope(index);
        let _ = block.sealed(index);
    }
    let _ = (block.envelope_root(), block.vault(), block.stored(), block.header.leaf());
}

/// Decodes an envelope; one that decodes encodes to bytes that decode to it again.
pub(crate) fn envelope(data: &[u8]) {
    if let Ok(envelope) = waybill_ledger::codec::decode::<waybill_ledger::Envelope>(data) {
        let bytes = waybill_ledger::codec::encode(&envelope).expect("what was decoded can be encoded");
        assert_eq!(waybill_ledger::codec::decode::<waybill_ledger::Envelope>(&bytes).as_ref(), Ok(&envelope));
    }
}

/// Takes an opened box apart, as a content that was sealed, and decodes the same bytes as a content.
pub(crate) fn payload(data: &[u8]) {
    let _ = waybill_ledger::content::unbox(data);
    if let Ok(content) = waybill_ledger::codec::decode::<waybill_ledger::Content>(data) {
        let bytes = waybill_ledger::codec::encode(&content).expect("what was decoded can be encoded");
        assert_eq!(waybill_ledger::codec::decode::<waybill_ledger::Content>(&bytes).as_ref(), Ok(&content));
    }
}

/// Checks a proof.
pub(crate) fn proof(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = waybill_ledger::proof::check(text);
    }
}

/// Opens a signed head.
pub(crate) fn head(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (note, key) = text.split_once("\n\n\n").unwrap_or((text, "waybill.invalid/0+00000000+AQ=="));
    let _ = waybill_ledger::head::open_note(note, key);
}
