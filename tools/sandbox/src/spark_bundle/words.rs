//! The few words of which a company is made.

use super::dice::Dice;

const FIRST: &[&str] = &[
    "Ada",
    "Amélie",
    "Björn",
    "Chidi",
    "Dora",
    "Elif",
    "Fatima",
    "Gábor",
    "Hanna",
    "Ibrahim",
    "Jörg",
    "Kaja",
    "Lars",
    "Mei",
    "Noor",
    "Oluwaseun",
    "Priya",
    "Quentin",
    "Rosa",
    "Søren",
    "Tomás",
    "Ursula",
    "Vikram",
    "Wanda",
    "Xiulan",
    "Yusuf",
    "Zoë",
    "Łukasz",
    "Анна",
    "明",
];
const PLAIN_FIRST: &[&str] = &[
    "Alice", "Bruno", "Clara", "David", "Emma", "Felix", "Greta", "Henry", "Irene", "James", "Karen", "Louis", "Maria",
    "Nora", "Oscar", "Paula", "Robert", "Sofia", "Thomas", "Victor",
];
const LAST: &[&str] = &[
    "Abel",
    "Brandt",
    "Castro",
    "D'Angelo",
    "Eriksen",
    "Fischer",
    "García Márquez",
    "Håkansson",
    "Ito",
    "Jansen",
    "Kowalska",
    "Lindqvist",
    "MacDonald",
    "Nakamura",
    "O'Brien",
    "Petrov",
    "Quist",
    "Rossi",
    "Schmidt-Weiß",
    "Turner",
    "Ünal",
    "van der Berg",
    "Weber",
    "Xu",
    "Yılmaz",
    "Zimmermann",
];
const PLAIN_LAST: &[&str] = &[
    "Adams", "Baker", "Carter", "Davis", "Evans", "Foster", "Green", "Harris", "Irving", "Jones", "King", "Lewis",
    "Moore", "Nelson", "Owens", "Parker", "Quinn", "Reed", "Scott", "Taylor",
];
const TRADE: &[&str] = &[
    "Analytics",
    "Bakery",
    "Cables",
    "Dairy",
    "Engines",
    "Freight",
    "Glass",
    "Harbour",
    "Instruments",
    "Joinery",
    "Kitchens",
    "Logistics",
    "Mills",
    "Networks",
    "Optics",
    "Printing",
    "Quarries",
    "Robotics",
    "Solar",
    "Timber",
    "Utilities",
    "Ventures",
];
const PLACE: &[&str] = &[
    "Aarhus",
    "Bergen",
    "Coimbra",
    "Delft",
    "Espoo",
    "Fribourg",
    "Ghent",
    "Halifax",
    "Izmir",
    "Jena",
    "Kraków",
    "Lübeck",
    "Malmö",
    "Nantes",
    "Oulu",
    "Porto",
    "Québec",
    "Rouen",
    "São Paulo",
    "Tartu",
    "Uppsala",
    "Växjö",
    "Würzburg",
    "York",
    "Zürich",
];
const FORM: &[&str] = &["Ltd", "GmbH", "A/S", "Inc.", "S.A.", "& Sons", "AB", "BV"];

pub(super) const INDUSTRY: &[&str] =
    &["Manufacturing", "Technology", "Retail", "Healthcare", "Finance", "Education", "Energy", "Consulting"];
pub(super) const MESSY_INDUSTRY: &[&str] =
    &["manufacturing", "SaaS", "retail ", "Health care", "Financial Services", "Wind & Water", "IT", "Non-profit"];
pub(super) const JOB: &[&str] = &[
    "Buyer",
    "Chief Executive",
    "Controller",
    "Engineer",
    "Head of Operations",
    "Office Manager",
    "Plant Manager",
    "Sales Director",
];
pub(super) const DEPARTMENT: &[&str] = &["Sales", "Purchasing", "Finance", "Engineering", "Operations"];
pub(super) const SOURCE: &[&str] = &["Web", "Referral", "Trade Show", "Phone Inquiry", "Partner"];
pub(super) const TAG: &[&str] = &["vip", "fair 2024", "newsletter", "reseller", "Ärzte", "follow-up", "do-not-merge"];
pub(super) const COUNTRY: &[&str] = &["Denmark", "Germany", "Norway", "Portugal", "Sweden", "Switzerland"];

/// Returns a first and a last name.
pub(super) fn person(dice: &mut Dice, plain: bool) -> (&'static str, &'static str) {
    if plain { (dice.pick(PLAIN_FIRST), dice.pick(PLAIN_LAST)) } else { (dice.pick(FIRST), dice.pick(LAST)) }
}

/// Returns the name of company `index`; the number keeps names apart.
pub(super) fn company(dice: &mut Dice, index: u64) -> String {
    let (place, trade, form) = (dice.pick(PLACE), dice.pick(TRADE), dice.pick(FORM));
    format!("{place} {trade} {} {form}", index + 1)
}

/// Returns a place to live or work in.
pub(super) fn place(dice: &mut Dice) -> &'static str {
    dice.pick(PLACE)
}

/// Returns letters, digits and dots only, fit for an address.
pub(super) fn slug(text: &str) -> String {
    let folded: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    if folded.is_empty() { "x".to_owned() } else { folded }
}

/// Returns a phone number in one of the ways people write them.
pub(super) fn phone(dice: &mut Dice, plain: bool) -> String {
    let number = 10_000_000 + dice.below(89_999_999);
    match if plain { 0 } else { dice.below(6) } {
        0 | 1 => format!("+45{number}"),
        2 => format!("+45 {} {} {} {}", number / 1_000_000, number / 10_000 % 100, number / 100 % 100, number % 100),
        3 => format!("{}.{}x{}", number / 10_000, number % 10_000, number % 977),
        4 => format!("(0{}) {}-{}", number % 90 + 10, number / 100_000, number % 100_000),
        _ => format!("{} (ask for the {})", number % 10_000_000, dice.pick(DEPARTMENT)),
    }
}

const SENTENCE: &[&str] = &[
    "Met them at the fair, and they asked for a quote.",
    "The contract runs out in autumn; call before that.",
    "She said: \"not before the summer\".",
    "Prefers e-mail, never calls back…",
    "Needs 3 offers, one of them below 10,000.",
    "Ordered twice; paid once, late.",
    "Größe und Menge sind offen – später klären.",
    "日本の支社にも連絡すること。",
    "Delivery to the back door, please 🙂",
];

/// Returns some sentences, on several lines where a person would write so.
pub(super) fn remark(dice: &mut Dice, plain: bool) -> String {
    let sentences = if plain { &SENTENCE[..2] } else { SENTENCE };
    let count = if plain { 1 } else { dice.between(1, 4) };
    let between = if !plain && dice.percent(40) { "\n" } else { " " };
    (0..count).map(|_| dice.pick(sentences)).collect::<Vec<_>>().join(between)
}

/// Returns a text of about `length` characters.
pub(super) fn essay(dice: &mut Dice, length: usize) -> String {
    let mut text = String::with_capacity(length + 80);
    while text.len() < length {
        text.push_str(dice.pick(SENTENCE));
        text.push(if dice.one_in(6) { '\n' } else { ' ' });
    }
    text
}
