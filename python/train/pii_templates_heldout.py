"""Templates of the test text, in no training or validation set: other sentences, other layouts."""

SENTENCES = """
Nobody but {PERSON} knows the code, so try {PHONE} first.
If the courier fails, let {FIRST} know under {EMAIL}.
We posted the keys to {ADDRESS} yesterday.
Kindly debit {CARD} for the remaining {amount}.
I'd like the deposit returned to {IBAN}, thanks.
He celebrates on {DOB}, which is his date of birth.
Traffic from {IP} peaked around {time}.
For payroll we hold the social security number {SSN} of {PERSON}.
The complaint was lodged by {PERSON} of {ADDRESS} on {date}.
{FIRST} says hi, and {FIRST2} too.
{title} {LAST} will see you at {time}.
Feel free to drop {PERSON} a line: {EMAIL}.
The number on the sticky note reads {PHONE}.
Two cards are stored, {CARD} and {CARD2}.
Both {PERSON} and {PERSON2} declined to comment on {org}.
lost my wallet, card is {CARD}, please freeze it asap, {PERSON}
My landline ({PHONE}) is dead, use {EMAIL} instead.
Standing order of {amount} a month to {IBAN} starting {date}.
{PERSON}, date of birth {DOB}, is entitled to a discount.
The scanner at {IP} reported firmware {version}.
Who is {PERSON}, and why did they write to {EMAIL}?
Invite {PERSON} and {EMAIL2} to the call on {weekday}.
Grandma {FIRST} now lives at {ADDRESS}.
""".strip().split("\n")

NEGATIVES = """
The museum opens at {time} and closes two hours later on {weekday}.
Lot {long} was recalled on {date} by {org}.
Patch {version} brings {num} fixes, see {url}.
A voucher of {amount} is enough for the {product}.
Commit {hash} broke the build of {host}.
Exactly {num} of {num} voters took part in {city}.
Case {order} was closed on {date} without a result.
""".strip().split("\n")

DOCUMENTS = [
    "Incident report {order}\nTime: {stamp}\nReported by: {PERSON} ({PHONE})\nSource address: {IP}\nSummary: {s}",
    "RENTAL AGREEMENT\nbetween {PERSON} (landlord), {ADDRESS},\nand {PERSON2} (tenant), born on {DOB}.\nRent: {amount}, payable to {IBAN}.",
    '{{"lead": {{"fullName": "{PERSON}", "contactEmail": "{EMAIL}", "mobile": "{PHONE}", "score": {num}}}, "source": "{word}"}}',
    "{FIRST} ({time}): {s}\n{FIRST2} ({time}): got it, and your email?\n{FIRST} ({time}): {EMAIL}",
    "Subject: your booking {order}\n\nGood morning {FIRST},\n\n{s}\n\nYour card {CARD} was charged {amount}.\n\nThe team of {org}",
    "payer\t{PERSON}\niban\t{IBAN}\nvalue\t{amount}\non\t{date}",
    "kern.info {host}: connection {num} opened src={IP} dst={IP2} proto=tcp",
    "Membership card\n{PERSON}\n*{DOB}\n{ADDRESS}\nValid until {date}",
    "Curriculum of {PERSON}. Born {DOB}. Reachable under {PHONE} and {EMAIL}. Employed by {org} since {date}.",
    "customer_name: {PERSON}\ncustomer_mail: {EMAIL}\ncustomer_ssn: {SSN}\nitems: [{product}, {product}]",
    "Delivery note\nConsignee {PERSON}, {ADDRESS}\nNotify {PHONE}\nItem {product} x {num}",
    "{s} {s} {s}",
    "Transcript\nOperator: Emergency line, go ahead.\nCaller: {s}\nOperator: What's your name?\nCaller: {PERSON}.\nOperator: And where are you?\nCaller: {ADDRESS}.",
    "user,last_ip,birthdate\n{EMAIL},{IP},{DOB}\n{EMAIL2},{IP2},{DOB2}",
]

# Planted in long prose by python/eval/needle.py: one item each.
NEEDLES = {
    "PERSON": ["The person in charge is {PERSON}, by the way.", "This was written down for {PERSON} of {org}."],
    "EMAIL": ["Answers go to {EMAIL} only.", "Should this reach you, write to {EMAIL}."],
    "PHONE": ["The phone number is {PHONE}.", "After hours dial {PHONE} instead."],
    "CREDIT_CARD": ["The booking was paid with the card {CARD}.", "Card on file: {CARD}."],
    "IBAN": ["The deposit was wired to {IBAN}.", "Donations: IBAN {IBAN}."],
}
