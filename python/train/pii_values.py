"""Generated personal data, and values that resemble it, for the slots of templates.

Names, addresses, card numbers and IBANs come from Faker in several locales; this module varies formats. No value
is taken from a real person, but a generated number may exist.
"""

import datetime
import string
import zlib

from faker import Faker

LOCALES = ["en_US", "en_GB", "en_CA", "en_AU", "en_IN", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "sv_SE", "pt_BR"]
IBAN_LOCALES = ["en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "de_AT", "de_CH", "fi_FI", "pt_PT", "no_NO"]
TITLES = ["Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "Mr", "Ms", "Dr"]
MAIL_HOSTS = ["gmail.com", "outlook.com", "yahoo.co.uk", "web.de", "proton.me", "mail.com", "icloud.com", "orange.fr"]
HELD_OUT_SHARE = 8


def held_out(name):
    """Returns whether a last name is kept for the tests, as one in eight is."""
    return zlib.crc32(name.lower().encode()) % HELD_OUT_SHARE == 0


class Values:
    """Draws values from a seed. With `test`, last names are those that training never draws."""

    locales = LOCALES

    def __init__(self, rng, test=False):
        self.rng, self.test = rng, test
        self.fakers = {name: Faker(name) for name in sorted(set(self.locales + IBAN_LOCALES))}
        for name in sorted(self.fakers):
            self.fakers[name].seed_instance(rng.randrange(1 << 30))
        self.start()

    def start(self):
        """Starts a new document, with a new person for all its slots."""
        self.locale = self.rng.choice(LOCALES[:3] if self.rng.random() < 0.55 else LOCALES)
        self.faker = self.fakers[self.locale]
        self.people, self.organisation = {}, None

    def last_name(self):
        for _ in range(400):
            name = self.faker.last_name()
            if held_out(name) == self.test:
                return name
        return "Obermair" if self.test else "Lindqvist"

    def person(self, key=""):
        if key not in self.people:
            self.people[key] = (self.faker.first_name(), self.last_name())
        return self.people[key]

    def full_name(self, key=""):
        first, last = self.person(key)
        form = self.rng.random()
        if form < 0.78:
            return f"{first} {last}"
        if form < 0.84:
            return f"{first} {self.rng.choice(string.ascii_uppercase)}. {last}"
        if form < 0.88:
            return f"{first} {self.faker.first_name()} {last}"
        if form < 0.92:
            return f"{last}, {first}"
        if form < 0.95:
            return f"{first[0]}. {last}"
        if form < 0.975:
            return f"{first} {last}".upper()
        return f"{first} {last}".lower()

    def email(self, key=""):
        plain = lambda s: "".join(c for c in s.lower() if c in string.ascii_lowercase) or "info"
        first, last = (plain(part) for part in self.person(key))
        host = self.rng.choice(MAIL_HOSTS) if self.rng.random() < 0.4 else self.faker.domain_name()
        number = self.rng.randrange(1, 2010)
        local = self.rng.choice(
            [f"{first}.{last}", f"{first}{last}", f"{first[0]}{last}", f"{first}_{last}", f"{last}.{first}", f"{first}{number}",
             f"{first[0]}.{last}{number}", f"{first}-{last}", f"{first}", f"{first}.{last}+{self.faker.word()}"]
        )
        mail = f"{local}@{host}"
        return mail if self.rng.random() < 0.93 else mail.upper() if self.rng.random() < 0.3 else f"{local.title()}@{host}"

    def digits(self, n):
        return "".join(self.rng.choice(string.digits) for _ in range(n))

    def phone(self):
        d = self.digits
        forms = [
            lambda: f"+1 {d(3)} {d(3)} {d(4)}", lambda: f"+1-{d(3)}-{d(3)}-{d(4)}", lambda: f"({d(3)}) {d(3)}-{d(4)}",
            lambda: f"{d(3)}-{d(3)}-{d(4)}", lambda: f"{d(3)}.{d(3)}.{d(4)}", lambda: f"+44 20 {d(4)} {d(4)}",
            lambda: f"+44 7{d(3)} {d(6)}", lambda: f"07{d(3)} {d(6)}", lambda: f"020 {d(4)} {d(4)}", lambda: f"+49 {d(3)} {d(7)}",
            lambda: f"+49 (0){d(2)} {d(4)}-{d(2)}", lambda: f"0{d(3)}/{d(6)}", lambda: f"+33 {d(1)} {d(2)} {d(2)} {d(2)} {d(2)}",
            lambda: f"06 {d(2)} {d(2)} {d(2)} {d(2)}", lambda: f"+34 {d(3)} {d(3)} {d(3)}", lambda: f"+39 3{d(2)} {d(7)}",
            lambda: f"+{d(2)}{d(9)}", lambda: f"00{d(2)} {d(2)} {d(3)} {d(4)}", lambda: f"1-800-{d(3)}-{d(4)}", lambda: f"+91 {d(5)} {d(5)}",
            lambda: f"{d(10)}", lambda: f"+1 ({d(3)}) {d(3)}-{d(4)} ext. {d(3)}", lambda: f"0{d(4)} {d(5)}", lambda: f"+31 6 {d(8)}",
        ]
        return self.rng.choice(forms)() if self.rng.random() < 0.8 else self.faker.phone_number()

    def card(self):
        kind = self.rng.choice(["visa16", "mastercard", "amex", "visa16", "mastercard", "discover"])
        number = self.fakers["en_US"].credit_card_number(kind)
        sizes = [4, 6, 5] if len(number) == 15 else [4] * 4
        parts, at = [], 0
        for size in sizes:
            parts.append(number[at : at + size])
            at += size
        return self.rng.choice([" ", " ", " ", "-", "-", ""]).join(parts) + number[at:]

    def iban(self):
        number = self.fakers[self.rng.choice(IBAN_LOCALES)].iban()
        if self.rng.random() < 0.5:
            return " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        return number

    def address(self):
        f = self.faker
        street = f.street_address().replace("\n", ", ")
        form = self.rng.random()
        if form < 0.45:
            return f.address().replace("\n", ", ")
        if form < 0.55:
            return f.address()
        if form < 0.8:
            return f"{street}, {f.city()}"
        return f"{street}, {f.postcode()} {f.city()}"

    def any_date(self, low, high):
        day = datetime.date(low, 1, 1) + datetime.timedelta(days=self.rng.randrange(365 * (high - low)))
        form = self.rng.choice(
            ["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d, %Y", "%d-%m-%Y", "%m/%d/%y"]
        )
        text = day.strftime(form)
        return text.lstrip("0") if self.rng.random() < 0.3 else text

    def ip(self):
        f = self.fakers["en_US"]
        return f.ipv4() if self.rng.random() < 0.7 else f.ipv4_private() if self.rng.random() < 0.4 else f.ipv6()

    def ssn(self):
        text = f"{self.digits(3)}-{self.digits(2)}-{self.digits(4)}"
        return text if self.rng.random() < 0.85 else text.replace("-", " ")

    def company(self):
        """Returns a company, which is not personal data. Some are named like people, as real ones are."""
        if self.organisation is None:
            word = self.faker.word().title()
            ends = ["Ltd", "GmbH", "Inc.", "Logistics", "Systems", "Bank", "Health", "Insurance", "Labs", "Media", "Foods"]
            made = f"{word} {self.rng.choice(ends)}"
            self.organisation = made if self.rng.random() < 0.7 else self.fakers["en_US"].company()
        return self.organisation

    def entity(self, slot):
        """Fills a labelled slot: (label, value)."""
        name = slot.rstrip("0123456789")
        key = slot[len(name) :]
        if name == "PERSON":
            return "PERSON", self.full_name(key)
        if name == "FIRST":
            return "PERSON", self.person(key)[0]
        if name == "LAST":
            return "PERSON", self.person(key)[1]
        if name == "TITLED":
            return "PERSON", self.person(key)[1]
        if name == "EMAIL":
            return "EMAIL", self.email(key)
        if name == "DOB":
            return "DATE_OF_BIRTH", self.any_date(1930, 2012)
        simple = {"PHONE": self.phone, "CARD": self.card, "IBAN": self.iban, "ADDRESS": self.address, "IP": self.ip, "SSN": self.ssn}
        label = {"CARD": "CREDIT_CARD", "IP": "IP_ADDRESS"}.get(name, name)
        return label, simple[name]()

    def distractor(self, slot):
        """Fills an unlabelled slot: numbers, dates and names that are not personal data."""
        rng, d = self.rng, self.digits
        letters = lambda n: "".join(rng.choice(string.ascii_uppercase) for _ in range(n))
        table = {
            "order": lambda: rng.choice([f"#{d(6)}", f"{letters(2)}-{d(7)}", d(8), f"ORD{d(9)}", f"{letters(3)}{d(5)}", f"{d(3)}-{d(7)}-{d(7)}"]),
            "date": lambda: self.any_date(2015, 2026),
            "time": lambda: f"{rng.randrange(24):02}:{rng.randrange(60):02}",
            "stamp": lambda: f"20{rng.randrange(15, 27)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}T{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}Z",
            "amount": lambda: rng.choice(["$", "€", "£", "USD ", "EUR "]) + rng.choice([d(2), f"{d(3)}.{d(2)}", f"{rng.randrange(1, 99)},{d(3)}.00"]),
            "org": self.company,
            "uuid": lambda: self.fakers["en_US"].uuid4(),
            "hash": lambda: "".join(rng.choice("0123456789abcdef") for _ in range(rng.choice([7, 12, 32, 40]))),
            "version": lambda: rng.choice([f"{d(1)}.{d(2)}.{d(1)}", f"v{d(1)}.{d(1)}", f"{d(1)}.{d(1)}.{d(2)}-rc{d(1)}"]),
            "url": lambda: f"https://{self.faker.domain_name()}/{self.faker.uri_path()}",
            "city": self.faker.city,
            "num": lambda: str(rng.randrange(1, 500)),
            "long": lambda: rng.choice([d(12), d(14), d(16), d(20), f"{d(4)} {d(4)}", f"{letters(2)}{d(11)}"]),
            "product": lambda: rng.choice(["kettle", "router X2", "desk lamp", "phone case", "running shoes", "standing desk", "E-bike 500", "Model T-14 drill"]),
            "word": self.fakers["en_US"].word,
            "host": lambda: f"{self.fakers['en_US'].word()}-{rng.randrange(1, 40):02}",
            "title": lambda: rng.choice(TITLES),
            "weekday": lambda: rng.choice("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()),
            "month": lambda: rng.choice("January March April June July October December".split()),
        }
        return table[slot.rstrip("0123456789")]()
