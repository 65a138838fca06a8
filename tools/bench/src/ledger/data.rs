//! The same made-up history for everyone: four events a record, two of them with 300 to 1,500 bytes of content.

use chrono::{DateTime, NaiveDate};
use waybill_ledger::{
    BatchId, Content, Decision, Event, FieldName, Fields, Fingerprint, Mapped, Micros, NameId, Record, RuleId,
    SubjectId, TargetPart, Value, codec, event::Operation,
};

/// Words of business letters.
const WORDS: &str = "account additional address advise again agreed agreement already also amount annual another answer any \
applied approval april arrange ask asked attached august available back based because been before being below best better \
between board both branch budget build business buy call called can card case change check city claim class clear client \
close code colleague come committee company complete concern condition confirm consider contact continue contract copy cost \
could country course credit current customer daily damage data date day deal december decide decision delay deliver delivery \
demand department deposit design detail develop different direct discount discuss division document done draft due during \
each early effect either email employ end engineer enough enquiry equipment even event every example exchange expect expense \
experience explain export extend factory fair faith far february few figure file fill final finance find first five follow \
force foreign form forward found four free friday friend from full further future general get give given goods great group \
grow growth half hand happy have head hear help high hold home hope hour house however idea important improve include income \
increase industry inform inquire inside insurance interest invest invoice issue item january join july june just keep kind \
know labour large last late launch lead learn least leave legal less let letter level licence like limit line list little \
loan local long look loss low machine made mail main maintain major make manage manager many march mark market matter may \
mean measure media meet meeting member message method might mind minute model monday money month more morning most move much \
name nature near necessary need network never new next night note nothing notice november now number october off offer \
office often old once one only open operate option order organise original other our out over own pack page paid paper part \
partner party past pay payment people per percent period person phone place plan plant please point policy position possible \
post power prefer prepare present president price print private problem process produce product profit programme project \
promise proper propose protect provide public purchase purpose put quality quantity quarter question quick quite quote raise \
range rate rather reach read ready real reason receive recent record reduce refer region regular relation remain remember \
remind reply report request require reserve resource respect response rest result return review right rise risk road room \
rule run safe sale same sample saturday save say schedule second section secure see seem sell send senior september serve \
service set several share ship short should show side sign since site six size small some soon sort speak special spend staff \
stage stand standard start state station statement still stock stop store street strong study subject such suggest sum supply \
support sure system table take talk target task tax team technical tell term test than thank their them then there these they \
thing think third this those though three through thursday time today together tomorrow too total touch trade train transfer \
travel trial true trust try tuesday turn two type under unit until upon urgent use usual value various very view visit wait \
want warehouse was way wednesday week well were what when where which while who whole why wide will wish with within without \
word work world would write year yes yesterday yet you young your";

/// One record's history.
#[derive(Debug, Clone)]
pub(super) struct Made {
    /// The source's id.
    pub(super) id: String,
    /// The destination's id.
    pub(super) destination: String,
    pub(super) record: Content,
    pub(super) mapped: Content,
    pub(super) digests: [Fingerprint; 2],
}

/// Draws numbers from a seed; splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    /// A letter's text of about so many bytes.
    fn text(&mut self, words: &[&str], bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            // As in any language: the word of rank r comes up as often as 1 in r (Zipf).
            let even = self.below(1 << 20) as f64 / f64::from(1 << 20);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
            let at = (words.len() as f64).powf(even) as usize - 1;
            text.push_str(words[at.min(words.len() - 1)]);
            text.push_str(if self.below(11) == 0 { ". " } else { " " });
        }
        text
    }

    fn id(&mut self, prefix: &str) -> String {
        const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut id = prefix.to_owned();
        while id.len() < 18 {
            id.push(char::from(DIGITS[usize::try_from(self.below(62)).unwrap_or(0)]));
        }
        id
    }
}

/// Makes record `n`. Ids come in random order, as CRMs have them.
pub(super) fn make(n: u64) -> Made {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let (record, mapped, id, destination, digests) = record(n, 7, &words);
    Made { id, destination, record, mapped, digests }
}

/// Makes samples to learn from: other records of the same maker.
pub(super) fn samples() -> [Vec<Content>; 2] {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let made: Vec<_> = (0..400).map(|n| record(n, 1_000_003, &words)).collect();
    [made.iter().map(|made| made.0.clone()).collect(), made.iter().map(|made| made.1.clone()).collect()]
}

fn record(n: u64, seed: u64, words: &[&str]) -> (Content, Content, String, String, [Fingerprint; 2]) {
    let mut dice = Dice(n.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ seed);
    let (first, last, company) = (dice.pick(words), dice.pick(words), dice.pick(words));
    let (id, destination) = (dice.id("c"), dice.id("003"));
    let email = format!("{first}.{last}{}@{company}.example", dice.below(1_000));
    let phone = format!("+49 {} {}", 30 + dice.below(900), 100_000 + dice.below(9_000_000));
    let at = DateTime::from_timestamp(1_500_000_000 + i64::try_from(dice.below(250_000_000)).unwrap_or(0), 0);
    let day = NaiveDate::from_epoch_days(17_000 + i32::try_from(dice.below(3_000)).unwrap_or(0));
    let length = usize::try_from(dice.below(1_120)).unwrap_or(0);
    let note = dice.text(words, 40 + length);
    let street = format!("{} street {}", dice.pick(words), 1 + dice.below(200));
    let mut fields = Fields::new();
    let mut set = |name: &str, value: Value| fields.set(FieldName::from(name), value);
    set("first_name", first.into());
    set("last_name", last.into());
    set("email", email.as_str().into());
    set("phone", phone.as_str().into());
    set("company_id", dice.id("k").into());
    set("owner_email", format!("{}@seller.example", ["ada", "ben", "cem", "dora"][(n % 4) as usize]).into());
    set("status", dice.pick(&["new", "open", "customer", "former"]).into());
    set("street", street.as_str().into());
    set("note", note.as_str().into());
    if let (Some(at), Some(day)) = (at, day) {
        set("modified_at", Value::Time(at));
        set("birthday", Value::Date(day));
    }
    let source = Record { id: id.clone(), fields };
    let mut fields = Fields::new();
    let mut set = |name: &str, value: Value| fields.set(FieldName::from(name), value);
    set("FirstName", first.into());
    set("LastName", last.into());
    set("Email", email.into());
    set("Phone", phone.into());
    set("AccountId", dice.id("001").into());
    set("OwnerId", ["0055f000001AAAAAA1", "0055f000001AAAAAA2", "0055f000001AAAAAA3"][(n % 3) as usize].into());
    set("MailingStreet", street.into());
    set("Description", note.into());
    let mapped = Mapped {
        object: "Contact".to_owned(),
        key: dice.id("k7Q"),
        fields,
        later: Fields::new(),
        decisions: vec![Decision {
            field: FieldName::from("OwnerId"),
            rule: RuleId::from("contacts"),
            what: "owner by e-mail".to_owned(),
        }],
    };
    let mut digest = || {
        let mut bytes = [0; 16];
        bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&dice.next().to_le_bytes()));
        Fingerprint(bytes)
    };
    let digests = [digest(), digest()];
    let record = Content::Record { object: "contacts".to_owned(), record: source };
    (record, Content::Mapped(mapped), id, destination, digests)
}

/// The numbers that the history's names have.
pub(super) const ACTOR: NameId = NameId(1);
pub(super) const CONTACTS: NameId = NameId(2);
pub(super) const CONTACT: NameId = NameId(3);
pub(super) const PART: TargetPart = TargetPart { rule: NameId(4), part: 0 };

/// The four events of a record.
pub(super) fn events(made: &Made, n: u64, destination: SubjectId) -> [Event; 4] {
    let modified = Some(Micros(1_600_000_000_000_000 + i64::try_from(n).unwrap_or(0) * 1_000));
    [
        Event::RecordExtracted { object: CONTACTS, modified, digest: made.digests[0] },
        Event::RecordMapped { object: CONTACT, digest: made.digests[1] },
        Event::WriteIntended { object: CONTACT, operation: Operation::Create, inverts: None },
        Event::WriteConfirmed { destination, operation: Operation::Create },
    ]
}

/// The batch of a record's write.
pub(super) fn batch(n: u64) -> BatchId {
    BatchId(1 + n / 10_000)
}

/// The bytes of a content, as everyone stores them.
pub(super) fn bytes(content: &Content) -> Vec<u8> {
    codec::encode(content).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_300_to_1500_bytes_and_the_same_number_makes_the_same() {
        let sizes: Vec<usize> =
            (0..2_000).flat_map(|n| [bytes(&make(n).record), bytes(&make(n).mapped)]).map(|b| b.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!(sizes.iter().all(|size| (300..1_500).contains(size)), "{:?}", (sizes.iter().min(), sizes.iter().max()));
        assert!((750..1_050).contains(&mean), "{mean}");
        assert_eq!(make(77).id, make(77).id);
        assert_ne!(make(77).id, make(78).id);
    }
}
