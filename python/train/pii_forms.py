"""Structured documents of random layout: key and value lines, JSON, tables, logs, mail, chats, signatures.

Keys, their order, case, separators and neighbours are drawn anew for every document, so that memorising any of
them does not pay.
"""

import json
import re

KEYS = {
    "PERSON": "name|full name|customer|customer name|contact|contact person|owner|holder|card holder|account holder|employee|patient|guest|passenger|recipient|sender|from|to|author|user|client|buyer|seller|tenant|landlord|student|signed by|approved by|manager|agent|attendee|participant|insured|beneficiary|payee|payer|driver|witness|doctor|assignee|reporter|prepared by|ship to|bill to|display name|real name|Nom|Nombre|Naam|Name|who|member|subscriber|applicant|next of kin|emergency contact|host|caller|lessee|donor|debtor|cc|attn|delivered to|person|title holder",
    "FIRST": "first name|given name|first|fname|nickname|nick|called|forename|Vorname|prénom|author|user|name|assigned to|by|sender|from|who|kid|dog owner",
    "LAST": "last name|surname|family name|last|lname|Nachname|nom de famille|apellido|sn",
    "EMAIL": "email|e-mail|mail|email address|contact email|user|username|login|account|from|to|reply-to|cc|work email|customer mail|user id|principal|E-Mail|correo|owner|sender|recipient|notify|contact",
    "PHONE": "phone|tel|telephone|mobile|cell|phone number|contact number|fax|home phone|work phone|mobile no|Telefon|téléphone|msisdn|caller|whatsapp|contact|tel no|hotline|number|call back|emergency phone|reach me|from|to|phone 2|landline|daytime phone",
    "CARD": "card|credit card|card number|card no|cc|cc number|pan|payment card|paid with|payment method|visa|mastercard|amex|debit card|billing card|method|card on file|stored card|charged to|payment",
    "IBAN": "iban|account|bank account|account number|IBAN no|pay to|beneficiary account|from account|to account|debit account|creditor|Konto|compte|refund to|bank|bank details|account iban|transfer to|payout account",
    "IP": "ip|ip address|client ip|remote addr|source|src|dst|src ip|dest|host|last ip|server|gateway|dns|login ip|addr|address|origin|peer|client|from|x-forwarded-for|last login from|listen|bind|node|source ip|inet|ipv6|endpoint",
    "SSN": "ssn|social security number|social security|ss no|SSN|tax id|social security no|national id|soc sec|id number|employee ssn|patient ssn",
    "DOB": "dob|date of birth|birth date|born|birthday|birthdate|d.o.b.|date born|bday|Geburtsdatum|date de naissance|born on|birth|patient dob|Birth date|dateOfBirth|birth day|child born",
    "ADDRESS": "address|street|home address|shipping address|billing address|delivery address|ship to|residence|location|lives at|postal address|site|deliver to|Adresse|dirección|addr|mailing address|property|venue|pickup|drop off|place|destination|where",
}
OTHER = {
    "{order}": "order|order no|invoice|invoice number|ticket|reference|ref|id|case|booking|policy no|customer no|contract|po number|claim|account no|sku|member no",
    "{long}": "tracking|serial|serial number|reference|transaction|barcode|ean|parcel|meter|id|customer id|code|imei|document no|batch",
    "{date}": "date|created|updated|due|valid until|expires|since|shipped|issued|start|end|arrival|departure|joined|hired|signed|last seen|delivered|paid on|admitted",
    "{amount}": "amount|total|price|balance|fee|deposit|rent|tax|subtotal|limit|salary|discount|value",
    "{org}": "company|organisation|employer|bank|vendor|supplier|insurer|org|firm|carrier|merchant|team|brand",
    "{city}": "city|town|place|location|branch|country|birthplace|destination|office|region",
    "{num}": "age|count|items|quantity|room|floor|score|weight|height|zip|retries|page|port|guests|nights|level|size|attempts|priority",
    "{stamp}": "timestamp|time|created at|ts|last login|logged at|updated at|seen",
    "{version}": "version|firmware|build|release|app version|os|agent",
    "{hash}": "hash|commit|checksum|session|token|digest|etag|sha",
    "{uuid}": "uuid|request id|trace id|session id|id|device id|guid",
    "{url}": "url|link|website|homepage|page|referrer",
    "{product}": "product|item|device|article|subject|title|model|category",
    "{word}": "status|type|state|source|role|plan|result|tag|channel|method|unit|language|currency",
    "{isbn}": "isbn|book",
    "{mac}": "mac|mac address|hw addr|bssid",
    "{vin}": "vin|chassis|plate",
    "{time}": "time|at|check in|start time|opening|shift",
    "{role}": "job|position|occupation|title|profession",
}
CASES = ["as", "as", "as", "title", "upper", "lower", "snake", "snake", "camel", "kebab", "dot"]


def cased(key, style):
    words = key.split()
    if style == "title":
        return key.title()
    if style == "upper":
        return key.upper()
    if style == "lower":
        return key.lower()
    if style == "camel":
        return words[0].lower() + "".join(w.title() for w in words[1:])
    glue = {"snake": "_", "kebab": "-", "dot": "."}.get(style)
    return glue.join(w.lower() for w in words) if glue else key


class Forms:
    """Makes templates of random layouts; `sentence` returns one line of text."""

    def __init__(self, rng, sentence):
        self.rng, self.sentence = rng, sentence

    def pick(self, table):
        kind = self.rng.choice(list(table))
        return kind, self.rng.choice(table[kind].split("|"))

    def slot(self, kind, number):
        name = {"PERSON": ["PERSON"] * 6 + ["FIRST", "PERSON"]}.get(kind, [kind])
        return "{" + self.rng.choice(name) + (str(number) if number > 1 else "") + "}"

    def field(self, number=1):
        """Returns a key and the slot of its value."""
        if self.rng.random() < 0.62:
            kind, key = self.pick(KEYS)
            return key, self.slot(kind, number)
        slot, key = self.pick(OTHER)
        if self.rng.random() < 0.15:
            return self.rng.choice(["note", "message", "comment", "reason", "remarks", "subject", "description", "summary"]), self.sentence()
        return key, slot

    def fields(self, low, high):
        """Returns several different fields. Names and addresses of one record agree."""
        found = {}
        for _ in range(self.rng.randrange(low, high)):
            key, slot = self.field(self.rng.choice([1, 1, 1, 2]))
            found.setdefault(key, slot)
        if self.rng.random() < 0.25:
            prefix = self.rng.choice(["customer", "user", "billing", "primary", "guest", "client", "old", "new", "my", "contact", "patient", "staff"])
            found = {f"{prefix} {k}": v for k, v in found.items()}
        return list(found.items())

    def lines(self):
        rng = self.rng
        style, glue = rng.choice(CASES), rng.choice([": ", ": ", ":", " = ", "=", "\t", " - ", "  ", " ", ":\n", " : ", "..... ", " | "])
        mark = rng.choice(["", "", "", "- ", "* ", "• ", "> ", "# "])
        end = rng.choice(["\n", "\n", "\n", "\n\n", "; ", ", ", " | ", ";\n", " "])
        body = end.join(mark + cased(k, style) + glue + v for k, v in self.fields(1, 9))
        head = rng.choice(["", "", "", rng.choice(["REGISTRATION", "Application form", "Customer record", "[account]", "Record {num}", "Order {order}", "Details", "{org}", "Contact", "== {cword} ==", "Personal data", "Case {order}", "Summary"]) + "\n"])
        tail = rng.choice(["", "", "\n" + self.sentence()])
        return head + body + tail

    def json(self):
        rng = self.rng
        style = rng.choice(["snake", "camel", "lower", "kebab", "as"])

        def thing(depth):
            made = {}
            for key, value in self.fields(1, 6):
                nested = depth < 2 and rng.random() < 0.12
                made[cased(key, style)] = thing(depth + 1) if nested else rng.randrange(900) if value == "{num}" else value
            return made

        data = thing(0) if rng.random() < 0.8 else [thing(1), thing(1)]
        text = json.dumps(data, ensure_ascii=False, indent=rng.choice([None, None, 2, 4]), separators=rng.choice([None, (",", ":")]))
        if rng.random() < 0.15:
            text = text.replace('"', "'")
        return self.braces(text)

    @staticmethod
    def braces(text):
        """Doubles the braces of JSON, which are not slots."""
        parts = re.split(r"(\{[A-Za-z]+\d?\})", text)
        return "".join(p if i % 2 else p.replace("{", "{{").replace("}", "}}") for i, p in enumerate(parts))

    def table(self):
        rng = self.rng
        fields = [(k, v) for k, v in self.fields(2, 6) if v.startswith("{")] or [("name", "{PERSON}")]
        glue = rng.choice([",", ",", ";", "\t", "|", " | ", ", ", "  "])
        style = rng.choice(CASES)
        rows = [glue.join(cased(k, style) for k, _ in fields)] if rng.random() < 0.7 else []
        for number in range(1, rng.randrange(2, 5)):
            again = lambda v: v if v[1:2].islower() or number == 1 else v[:-1].rstrip("2") + str(number + 1) + "}"
            quote = rng.choice(["", "", '"'])
            rows.append(glue.join(quote + again(v) + quote for _, v in fields))
        if glue == " | " and rng.random() < 0.7:
            rows = [f"| {r} |" for r in rows]
        return "\n".join(rows)

    def log(self):
        rng = self.rng
        lines = []
        stamp = rng.choice(["{stamp} ", "{stamp} ", "[{stamp}] ", "{date} {time} ", "", "{time} "])
        for _ in range(rng.randrange(1, 4)):
            level = rng.choice(["INFO ", "WARN ", "error: ", "[debug] ", "", "", "{host} {word}[{num}]: ", "{word}.{word2}: ", "<{num}>", "kernel: "])
            words = rng.choice(["{word} {word2}", "login ok", "login failed", "request", "session opened", "accepted {word} for {word2}", "{word} timeout after {num}ms", "user", "payment", "sent", "rejected", "lookup", "GET {path} {num}", "closed", "signed in", "denied", ""])
            glue = rng.choice(["=", "=", ": ", ":", " "])
            more = [cased(k, "snake") + glue + v for k, v in self.fields(1, 5) if v.startswith("{")]
            rng.shuffle(more)
            lines.append(stamp + level + words + " " + rng.choice([" ", ", ", " "]).join(more))
        if rng.random() < 0.15:
            lines = ['{IP} - {word} [{date}:{time}] "' + rng.choice(["GET", "POST", "PUT"]) + ' {path} HTTP/1.1" {num} {num} "{url}"'] + lines[:1]
        return "\n".join(lines)

    def xml(self):
        rng = self.rng
        style = rng.choice(["snake", "camel", "kebab", "lower"])
        fields = [(cased(k, style).replace(" ", ""), v) for k, v in self.fields(1, 6)]
        form = rng.random()
        if form < 0.4:
            glue = rng.choice(["", "\n", "\n  "])
            return "<row>" + glue + glue.join(f"<{k}>{v}</{k}>" for k, v in fields) + glue + "</row>"
        if form < 0.6:
            return "<entry " + " ".join(f'{k}="{v}"' for k, v in fields) + "/>"
        if form < 0.8:
            return "&".join(f"{k}={v}" for k, v in fields)
        return f"INSERT INTO {rng.choice(['users', 'orders', 'people', 'log'])} ({', '.join(k for k, _ in fields)}) VALUES ({', '.join(chr(39) + v + chr(39) for _, v in fields)});"

    def mail(self):
        rng, s = self.rng, self.sentence
        head = ["From: " + rng.choice(["{PERSON} <{EMAIL}>", "{EMAIL}", '"{PERSON}" <{EMAIL}>', "{PERSON}", "{FIRST}"]), "To: " + rng.choice(["{PERSON2} <{EMAIL2}>", "{EMAIL2}", "{PERSON2}", "{EMAIL2}, {EMAIL3}", "{FIRST2}"]), "Subject: " + rng.choice(["{product}", "{word} {word2}", "Re: order {order}", "{FIRST2}?", "Invoice {order}"]), "Date: {date} {time}", "Cc: {EMAIL3}", "Sent: {date}", "Message-ID: <{hash}@{host}>"]
        head = [h for h in head if rng.random() < 0.6]
        rng.shuffle(head)
        greeting = rng.choice(["Hi {FIRST2},", "Dear {title} {LAST2},", "Hello {FIRST2}!", "{FIRST2},", "Dear {PERSON2},", "Hi all,", "Hello,", "Good morning {FIRST2},", "Dear {FIRST2} and {FIRST3},", ""])
        close = rng.choice(["Best,", "Kind regards,", "Thanks", "Cheers,", "Sincerely,", "Yours,", "Best wishes", "--", "BR", ""])
        sign = rng.choice(["{FIRST}", "{PERSON}", "{PERSON}\n" + self.signature(), "{FIRST}\n" + self.signature(), "The {org} team", self.signature()])
        body = rng.choice([" ", "\n", "\n\n"]).join(s() for _ in range(rng.randrange(1, 4)))
        parts = ["\n".join(head), greeting, body, close + "\n" + sign]
        return rng.choice(["\n\n", "\n\n", "\n"]).join(p for p in parts if p.strip())

    def signature(self):
        rng = self.rng
        lines = ["{PERSON}", "{org}", "{ADDRESS}", rng.choice(["Tel ", "T: ", "Phone ", "M ", "", "Tel.: ", "mobile: ", "☎ "]) + "{PHONE}", rng.choice(["", "E: ", "mail ", "e-mail: "]) + "{EMAIL}", "{url}", "{role}", "{city}", "{role} | {org}", "{PHONE} | {EMAIL}"]
        chosen = rng.sample(lines, rng.randrange(1, 6))
        chosen.sort(key=lines.index)
        return rng.choice(["\n", "\n", " | ", ", ", " · "]).join(chosen)

    def chat(self):
        rng = self.rng
        form = rng.choice(["{0}: {1}", "<{0}> {1}", "[{time}] {0}: {1}", "{0} [{time}]: {1}", "{time} {0}: {1}", "{0} - {1}", "{0}, {time}\n{1}", "@{0} {1}", "{0} says: {1}", "- {0}: {1}", "{0}>> {1}", "{0} wrote at {time}: {1}", "{0}\n{1}", "**{0}**: {1}", "{0} | {time} | {1}"])
        people = rng.choice([["{FIRST}", "{FIRST2}"], ["{FIRST}", "{FIRST2}", "{FIRST3}"], ["Agent", "{FIRST}"], ["Customer", "Agent"], ["Q", "A"], ["User", "Bot"], ["{PERSON}", "{PERSON2}"], ["Dispatcher", "Man"], ["{FIRST}", "Support"], ["Nurse", "Patient"], ["Clerk", "{PERSON}"], ["me", "{FIRST}"]])
        lines = []
        asks = [("your name?", ["{PERSON}", "{PERSON}.", "it's {PERSON}", "{FIRST}", "{PERSON}, {PERSON2}"]), ("what number can we call", ["{PHONE}", "{PHONE}, evenings"]), ("and the card?", ["{CARD}", "it is {CARD}"]), ("your mail address please", ["{EMAIL}", "sure: {EMAIL}"]), ("where do you live?", ["{ADDRESS}", "{ADDRESS}.", "at {ADDRESS}"]), ("iban?", ["{IBAN}"]), ("birthday?", ["{DOB}", "born {DOB}"]), ("which ip?", ["{IP}"]), ("social security number?", ["{SSN}"]), ("the order number?", ["{order}", "{long}"]), ("since when?", ["{date}", "{date} I think"]), ("who is it", ["{PERSON}", "{FIRST}", "{title} {LAST}"])]
        for turn in range(rng.randrange(1, 4)):
            if rng.random() < 0.5:
                ask, answers = rng.choice(asks)
                pair = [rng.choice(["", "ok, ", "and ", "Thanks. ", "hm, "]) + ask, rng.choice(answers)]
            else:
                pair = [self.sentence(), rng.choice(["ok", "yes", "no", "thanks {FIRST}", "sure", "let me check", self.sentence()])]
            for who, said in zip((people[0], people[-1] if turn % 2 else people[1]), pair):
                lines.append(form.replace("{0}", who).replace("{1}", said))
        return "\n".join(lines)

    def listing(self):
        rng = self.rng
        line = rng.choice(["{PERSON#}", "{PERSON#}", "{FIRST#}", "{PERSON#} ({EMAIL#})", "{PERSON#}, {PHONE#}", "{EMAIL#}", "{PHONE#}", "{IP#}", "{IP#} {host}", "{PERSON#} - {city}", "{PERSON#}, {role}", "{org}", "{city}", "{CARD#}", "{IBAN#}", "{IBAN#} {amount}", "{PERSON#}: {amount}", "{PERSON#} {order}", "{ADDRESS#}", "{product}: {amount}", "{date}: {word}", "{order}", "{long}", "{PERSON#} <{EMAIL#}>", "{PERSON#} *{DOB#}", "{PERSON#} (born {DOB#})", "{IP#}/{num}", "{title} {LAST#}", "{LAST#}"])
        mark = rng.choice(["", "- ", "* ", "# ", "{num}. ", "", "[ ] ", "> "])
        glue = rng.choice(["\n", "\n", ", ", "; ", " and ", " / ", " "]) if mark == "" else "\n"
        head = rng.choice(["", "", "Present: ", "Team:\n", "Invited:\n", "To: ", "Winners: ", "Hosts:\n", "{word}: ", "List of {word}\n", "Authors: ", "cc: ", "Minutes of {date}\n", "New members: "])
        return head + glue.join(mark + line.replace("#", str(n) if n > 1 else "") for n in range(1, rng.randrange(2, 6)))

    def template(self):
        return self.rng.choice([self.lines, self.lines, self.lines, self.json, self.json, self.table, self.log, self.log, self.xml, self.mail, self.mail, self.signature, self.chat, self.chat, self.listing])()
