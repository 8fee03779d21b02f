"""Personal data of many more countries and formats than pii_values draws, for training only."""

import datetime
import string

from pii_values import LOCALES, Values, held_out

NAME_LOCALES = LOCALES + """
fi_FI no_NO da_DK cs_CZ hu_HU ro_RO hr_HR sk_SK sl_SI et_EE lt_LT lv_LV id_ID vi_VN en_NG en_KE es_MX es_AR fr_CA
nl_BE de_AT de_CH pt_PT en_IE en_NZ es_CO es_CL en_PK en_TH ig_NG zu_ZA tw_GH yo_NG ha_NG tr_TR az_AZ uz_UZ is_IS fr_CH sw
""".split()
# Country, and the characters of its account numbers: n digits, a letters, c either.
IBAN_FORMS = """
DE18n FR10n11c2n GB4a14n ES20n IT1a10n12c NL4a10n BE12n AT16n CH5n12c PL24n PT21n SE20n NO11n DK14n FI14n IE4a14n LU3n13c
CZ20n SK20n HU24n RO4a16c BG4a6n8c HR17n SI15n EE16n LV4a13c LT16n GR7n16c CY8n16c MT4a5n18c IS22n TR5n1n16c UA6n19c SA2n18c
AE3n16n IL19n LI5n12c MC10n11c2n
""".split()
STREETS = """
Street St Road Rd Avenue Ave Lane Drive Dr Boulevard Blvd Way Court Place Terrace Close Square Crescent Highway Row Walk Hill Park
""".split()
STREET_WORDS = """
Oak Maple High Church Mill Station Victoria King Queen Park Elm Cedar Lake River Hill North South West East Bridge Market School
Green Spring Chestnut Washington Lincoln Walnut Sunset Meadow Forest Orchard Harbour Castle Garden Abbey Windsor Grove Ridge
""".split()
HOSTS = """
gmail.com outlook.com hotmail.com yahoo.com yahoo.fr gmx.de gmx.net web.de proton.me protonmail.com icloud.com live.nl orange.fr aol.com
mail.ru qq.com me.com fastmail.com t-online.de libero.it wp.pl seznam.cz uol.com.br rediffmail.com btinternet.com example.com example.org
""".split()


class WideValues(Values):
    locales = NAME_LOCALES

    def start(self):
        self.locale = self.rng.choice(["en_US", "en_US", "en_GB", "en_CA"] if self.rng.random() < 0.4 else NAME_LOCALES)
        self.faker = self.fakers[self.locale]
        self.people, self.organisation = {}, None

    def capital(self):
        return self.rng.choice(string.ascii_uppercase)

    def invented(self):
        """Returns a name of no language, because the model cannot know all names."""
        rng = self.rng
        heads, tails = "b c d f g h j k l m n p r s t v w z br ch dr gr kh kr sh st th tr".split(), "a e i o u ai au ea ie ou".split()
        ends = ["n", "r", "s", "l", "k", "m", "nd", "th", "tz", "ck", "ng", "va", "ski", "sson", "ez", "ini", "off", "man", "ova", ""]
        word = "".join(rng.choice(heads) + rng.choice(tails) for _ in range(rng.choice([1, 2, 2, 3]))) + rng.choice(ends)
        return word.capitalize()

    def last_name(self):
        if self.rng.random() < 0.08:
            name = self.invented()
            if not held_out(name):
                return name if self.rng.random() < 0.9 else f"{self.rng.choice(['de', 'van', 'von', 'al-', 'Mc', 'O’', 'Le ', 'di '])} {name}".replace("- ", "-").replace("Mc ", "Mc").replace("’ ", "’").replace("  ", " ")
        return super().last_name()

    def person(self, key=""):
        if key not in self.people:
            first = self.faker.first_name() if self.rng.random() < 0.94 else self.invented()
            self.people[key] = (first, self.last_name())
        return self.people[key]

    def full_name(self, key=""):
        first, last = self.person(key)
        rng = self.rng
        table = [
            (0.68, lambda: f"{first} {last}"), (0.05, lambda: f"{first} {self.capital()}. {last}"), (0.04, lambda: f"{first} {self.capital()} {last}"),
            (0.04, lambda: f"{first} {self.faker.first_name()} {last}"), (0.05, lambda: f"{last}, {first}"), (0.04, lambda: f"{first[0]}. {last}"),
            (0.01, lambda: f"{first[0]}.{self.capital()}. {last}"), (0.02, lambda: f"{first} {last}-{self.last_name()}"), (0.01, lambda: f"{first} {last} {rng.choice(['Jr.', 'III', 'Sr'])}"),
            (0.01, lambda: f"{last} {first}"), (0.03, lambda: f"{first} {last}".upper()), (0.01, lambda: f"{first} {last.upper()}"), (0.03, lambda: f"{first} {last}".lower()),
        ]
        return rng.choices([f for _, f in table], [w for w, _ in table])[0]()

    def email(self, key=""):
        if self.rng.random() < 0.6:
            mail = super().email(key)
        else:
            rng, words = self.rng, self.fakers["en_US"]
            local = rng.choice(
                [words.word(), f"{words.word()}.{words.word()}", f"{words.word()}{self.digits(2)}", f"{words.word()}_{words.word()}{self.digits(3)}", "info", "sales", "contact", "support", "billing", "no-reply", "jobs", "office"]
            )
            mail = f"{local}@{rng.choice(HOSTS) if rng.random() < 0.4 else rng.choice([words.domain_name(), f'mail.{words.domain_name()}', words.domain_word() + '.' + rng.choice(['co', 'io', 'ai', 'dev', 'edu', 'gov.uk', 'ac.uk', 'com.au', 'eu', 'ch', 'be'])])}"
        return mail

    def grouped(self, sizes, glue):
        return glue.join(self.digits(int(n)) for n in sizes)

    def phone(self):
        rng, d = self.rng, self.digits
        pick = rng.random()
        if pick < 0.35:
            return super().phone()
        if pick < 0.5:
            return self.fakers[rng.choice(NAME_LOCALES)].phone_number()
        glue = rng.choice([" ", " ", " ", "-", "-", ".", "/", ""])
        country = rng.choice(["1", "7", "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51", "52", "54", "55", "56", "57", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "94", "98", "212", "234", "254", "351", "353", "358", "370", "380", "385", "420", "852", "880", "971", "972"])
        sizes = rng.choice(["333", "334", "343", "244", "2222", "12222", "325", "45", "55", "27", "36", "3223", "2233", "9", "10", "34", "433", "424", "46", "235"])
        body = d(int(sizes)) if sizes in ("9", "10") else self.grouped(sizes, glue)
        if pick < 0.8:
            plus = rng.choice(["+", "+", "+", "+", "00", "(+", "+"])
            head = f"{plus}{country}" + (")" if plus == "(+" else "")
            zero = "(0)" if rng.random() < 0.08 else ""
            return head + rng.choice([" ", " ", "-" if glue == "-" else " ", "" if glue == "" else " "]) + zero + body
        area = d(rng.choice([2, 3, 3, 4]))
        national = rng.choice([f"({area}) {body}", f"(0{area}) {body}", f"0{area}{rng.choice([' ', '/', '-', ' / '])}{d(rng.choice([5, 6, 7]))}", f"0{body}", f"{area}-{d(3)}-{d(4)}", f"{area}{d(7)}"])
        return national + (rng.choice([" ext. ", " x", " ext ", "x"]) + d(rng.choice([2, 3, 4])) if rng.random() < 0.06 else "")

    def card(self):
        rng = self.rng
        head, size = rng.choice([("4", 16), ("4", 16), ("5" + str(rng.randrange(1, 6)), 16), (str(rng.randrange(2221, 2721)), 16), ("6011", 16), ("65", 16), ("35" + str(rng.randrange(28, 90)), 16), ("34", 15), ("37", 15), ("36", 14), ("62", 16)])
        number = head + self.digits(size - 1 - len(head))
        total = sum(sum(divmod(int(c) * (2 if i % 2 == 0 else 1), 10)) for i, c in enumerate(reversed(number)))
        number += str(-total % 10)
        sizes = {16: [4, 4, 4, 4], 15: [4, 6, 5], 14: [4, 6, 4]}[size]
        parts, at = [], 0
        for n in sizes:
            parts.append(number[at : at + n])
            at += n
        return rng.choice([" ", " ", " ", "-", "-", "", "", "."] if rng.random() < 0.3 else [" ", " ", "-", ""]).join(parts)

    def iban(self):
        rng = self.rng
        if rng.random() < 0.3:
            return super().iban()
        form = rng.choice(IBAN_FORMS[:16] if rng.random() < 0.6 else IBAN_FORMS)
        country, body, count = form[:2], "", ""
        for c in form[2:]:
            if c.isdigit():
                count += c
            else:
                letters = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits * 3 + string.ascii_uppercase}[c]
                body += "".join(rng.choice(letters) for _ in range(int(count)))
                count = ""
        check = 98 - int("".join(str(int(c, 36)) for c in body + country + "00")) % 97
        number = f"{country}{check:02}{body}"
        if rng.random() < 0.55:
            number = rng.choice([" "] * 9 + ["-"]).join(number[i : i + 4] for i in range(0, len(number), 4))
        return number if rng.random() < 0.93 else number.lower()

    def address(self):
        rng, f = self.rng, self.faker
        pick = rng.random()
        if pick < 0.4:
            return super().address()
        if pick < 0.6:
            other = self.fakers[rng.choice(NAME_LOCALES)]
            return other.address().replace("\n", rng.choice([", ", ", ", ", ", "\n", " "]))
        number = f"{rng.randrange(1, 9999 if rng.random() < 0.3 else 300)}{rng.choice(['', '', '', '', 'a', 'B', '/2', '-3'])}"
        street = f"{rng.choice(STREET_WORDS) if rng.random() < 0.6 else f.last_name()} {rng.choice(STREETS)}"
        head = rng.choice(["", "", "", f"Flat {rng.randrange(1, 40)}, ", f"Apt {rng.randrange(1, 900)}, ", f"Unit {rng.randrange(1, 90)}, "])
        tail = rng.choice(["", "", "", f", Apt {rng.randrange(1, 90)}{self.capital()}", f" #{rng.randrange(1, 90)}", f", Suite {rng.randrange(100, 900)}", f", {rng.randrange(2, 9)}th floor"])
        code = rng.choice([self.digits(5), self.digits(5), self.digits(4), f"{self.capital()}{self.capital()}{rng.randrange(1, 30)} {rng.randrange(1, 10)}{self.capital()}{self.capital()}", f.postcode()])
        state = self.capital() + self.capital()
        city = f.city()
        place = rng.choice([f", {city}", f", {city}, {state} {code}", f", {city} {code}", f", {code} {city}", f", {city}, {code}", f", {city}, {f.country() if hasattr(f, 'country') else 'Germany'}", f" {city}", ""])
        return head + number + " " + street + tail + place

    def any_date(self, low, high):
        rng = self.rng
        if rng.random() < 0.6:
            return super().any_date(low, high)
        day = datetime.date(low, 1, 1) + datetime.timedelta(days=rng.randrange(365 * (high - low)))
        form = rng.choice(["%Y/%m/%d", "%d.%m.%y", "%d/%m/%y", "%d-%b-%Y", "%b %d %Y", "%B %d %Y", "%Y.%m.%d", "%Y%m%d", "%d %m %Y", "%A, %d %B %Y", "the %dth of %B %Y", "%d %B, %Y", "%d. %B %Y", "%m-%d-%Y"])
        return day.strftime(form)

    def ip(self):
        rng = self.rng
        if rng.random() < 0.75:
            heads = ["10.", "192.168.", "172.16.", "127.0."]
            octets = [str(rng.randrange(256)) for _ in range(4)]
            text = ".".join(octets)
            if rng.random() < 0.25:
                head = rng.choice(heads)
                text = head + ".".join(octets[head.count(".") :])
            return text
        groups = [f"{rng.randrange(65536):x}" for _ in range(8)]
        form = rng.random()
        if form < 0.5:
            text = ":".join(groups)
        elif form < 0.8:
            a, b = rng.randrange(1, 5), rng.randrange(1, 4)
            text = ":".join(groups[:a]) + "::" + ":".join(groups[:b])
        elif form < 0.9:
            text = rng.choice(["fe80::", "2001:db8::", "fd00::"]) + ":".join(groups[: rng.randrange(1, 5)])
        else:
            text = "2001:" + ":".join(groups[1:])
        return text.upper() if rng.random() < 0.1 else text

    def ssn(self):
        text = f"{self.digits(3)}-{self.digits(2)}-{self.digits(4)}"
        return text if self.rng.random() < 0.8 else text.replace("-", self.rng.choice([" ", " ", "."]))

    def distractor(self, slot):
        """Fills more unlabelled slots; pii_values fills the others."""
        rng, d = self.rng, self.digits
        letters = lambda n: "".join(rng.choice(string.ascii_uppercase) for _ in range(n))
        name = slot.rstrip("0123456789")
        hexes = lambda n: "".join(rng.choice("0123456789abcdef") for _ in range(n))
        words = self.fakers["en_US"]
        table = {
            "mac": lambda: rng.choice([":", "-"]).join(hexes(2) for _ in range(6)),
            "isbn": lambda: rng.choice([f"978-{d(1)}-{d(3)}-{d(5)}-{d(1)}", f"978{d(10)}", f"{d(1)}-{d(4)}-{d(4)}-{d(1)}"]),
            "vin": lambda: letters(3) + d(2) + letters(3) + d(9),
            "time": lambda: rng.choice([f"{rng.randrange(24):02}:{rng.randrange(60):02}", f"{rng.randrange(1, 13)} {rng.choice(['am', 'pm'])}", f"{rng.randrange(1, 13)}:{rng.randrange(60):02}{rng.choice(['am', ' pm', ' AM'])}", f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"]),
            "stamp": lambda: rng.choice([f"20{rng.randrange(10, 27)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}{rng.choice('T ')}{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}{rng.choice(['Z', '', '.' + d(3), '+02:00', ',' + d(3)])}", f"1{d(9)}", f"1{d(12)}", f"{rng.choice('Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split())} {rng.randrange(1, 29):2} {rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"]),
            "long": lambda: rng.choice([d(9), d(11), d(12), d(13), d(14), d(16), d(18), d(20), f"{d(4)} {d(4)}", f"{d(3)} {d(3)}", f"{letters(2)}{d(11)}", f"{letters(1)}{d(8)}", f"{d(4)}-{d(4)}", f"1Z{d(3)}{letters(2)}{d(10)}", f"{d(6)}-{d(4)}", f"{d(2)}-{d(7)}", f"{d(5)}-{d(3)}"]),
            "order": lambda: rng.choice([f"#{d(rng.choice([4, 5, 6, 7]))}", f"{letters(rng.choice([1, 2, 3, 4]))}{rng.choice(['-', '', '_', '/'])}{d(rng.choice([4, 5, 6, 7, 8]))}", d(8), d(6), f"ORD{d(9)}", f"{d(3)}-{d(7)}-{d(7)}", f"{rng.randrange(2015, 2027)}-{d(5)}", f"{letters(2)}-{d(4)}-{letters(2)}"]),
            "version": lambda: rng.choice([f"{d(1)}.{d(2)}.{d(1)}", f"v{d(1)}.{d(1)}", f"{d(1)}.{d(1)}.{d(2)}-rc{d(1)}", f"{d(2)}.{d(1)}", f"{d(1)}.{d(1)}.{d(1)}.{d(5)}", f"v{d(2)}.{d(2)}.{d(1)}", f"{d(1)}.{d(1)}.{d(1)}-{d(3)}"]),
            "amount": lambda: rng.choice(["$", "€", "£", "USD ", "EUR ", "CHF ", "₹", "kr "]) + rng.choice([d(2), f"{d(3)}.{d(2)}", f"{rng.randrange(1, 99)},{d(3)}.00", f"{rng.randrange(1, 99)}.{d(3)},{d(2)}", f"{d(1)}k", d(5)]),
            "num": lambda: str(rng.randrange(1, 12) if rng.random() < 0.4 else rng.randrange(1, 5000)) if rng.random() < 0.9 else f"{d(1)}.{d(2)}",
            "product": lambda: rng.choice(["laptop", "washing machine", "red sofa", "headphones", "Model {} charger".format(letters(1) + d(2)), "coffee grinder", "tablet", "winter jacket", "garden hose", "printer", "smart watch", "bicycle", "vacuum cleaner", "camera", words.word()]),
            "path": lambda: "/" + "/".join(words.word() for _ in range(rng.randrange(1, 4))),
            "word": words.word,
            "cword": lambda: words.word().title(),
            "role": lambda: words.job().split(",")[0].lower(),
        }
        return table[name]() if name in table else super().distractor(slot)
