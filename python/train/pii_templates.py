"""Templates of training and validation text. Upper-case slots are personal data, lower-case slots are not.

The test's templates are in pii_templates_heldout.py; none of them was derived from these.
"""

SENTENCES = """
Please call {PERSON} on {PHONE} before {weekday}.
My name is {PERSON} and my email is {EMAIL}.
You can reach me at {PHONE} or by mail at {EMAIL}.
The parcel for {PERSON} goes to {ADDRESS}.
I live at {ADDRESS} and would like a quote.
She was born on {DOB}.
{PERSON}, born {DOB}, was admitted on {date}.
Charge my card {CARD}, it expires {num}/{num}.
my card number is {CARD} and it was declined twice
Transfer {amount} to {IBAN} by {date}.
The refund of {amount} went to {IBAN} last {weekday}.
Login from {IP} at {time} was blocked.
Her social security number is {SSN}.
SSN {SSN} is on file for {PERSON}.
Hi {FIRST}, thanks for your order {order}.
Hello {FIRST}, this is {FIRST2} from {org}.
Dear {title} {LAST}, we received your letter of {date}.
Regards, {PERSON}
Best wishes, {FIRST}
Kind regards,\n{PERSON}\n{org}\n{PHONE}
cheers\n{FIRST}
Ask {FIRST} whether the {product} has arrived.
{PERSON} and {PERSON2} will meet at {time} in {city}.
I spoke to {PERSON} from {org} about invoice {order}.
Could you forward this to {EMAIL}?
cc {EMAIL}, {EMAIL2}
Our new address is {ADDRESS}.
{PERSON} moved from {city} to {ADDRESS}.
date of birth {DOB}, phone {PHONE}
My wife {FIRST} has the number {PHONE}.
her mobile is {PHONE}, call after {time}
ring me on {PHONE} pls
text {PHONE} when you get here
email me: {EMAIL}
Send the contract to {PERSON} <{EMAIL}>.
The account holder is {PERSON}, IBAN {IBAN}.
Bank details: {IBAN}, name {PERSON}.
pay to {IBAN}, reference {order}
Use {CARD} for the booking under {PERSON}.
The card ending in 4411 is not {CARD}.
Patient {PERSON} (DOB {DOB}) takes {num} mg daily.
The witness, {PERSON}, gave her address as {ADDRESS}.
According to {title} {LAST}, the meeting starts at {time}.
{title} {LAST} is out of office until {date}.
{PERSON} joined {org} in {month}.
{FIRST} and {FIRST2} are my neighbours.
A person called {PERSON} asked for you; the number was {PHONE}.
The request came from {IP}, user {EMAIL}.
Please block {IP} and {IP2} on the firewall.
Server {host} answered from {IP} with version {version}.
{EMAIL} could not be delivered on {date}.
I was born on {DOB} in {city}.
Birthday: {DOB}. Height {num} cm.
The tenant at {ADDRESS} is {PERSON}.
Ship to {PERSON}, {ADDRESS}, phone {PHONE}.
Emergency contact: {PERSON}, {PHONE}
My daughter {FIRST}, born {DOB}, needs a passport.
The applicant {PERSON} gave the social security number {SSN}.
Can you confirm that {SSN} is the right number?
Our records show {EMAIL} and {PHONE} for {PERSON}.
it's {FIRST} here, new number {PHONE}
hey {FIRST} are you coming on {weekday}
Could {FIRST} send the report to {org} today?
thanks {FIRST}!
{FIRST}: did you see the mail from {FIRST2}?
{FIRST}: yes, {time} works
Interview with {PERSON}, {weekday} {time}, room {num}.
Signed by {PERSON} on {date} in {city}.
Prof. {PERSON} teaches at {city}.
The driver {PERSON} picked up {order} at {ADDRESS}.
Invoice {order} was sent to {EMAIL} on {date}.
I paid with {CARD}.
Please update my credit card to {CARD}.
Wire it to my account {IBAN} please.
The IBAN {IBAN} is invalid, said {FIRST}.
Contact: {PERSON}, {ADDRESS}, {EMAIL}, {PHONE}.
name {PERSON} mail {EMAIL} tel {PHONE}
the guy's name was {PERSON}, he lives at {ADDRESS}
From {IP} we saw {num} failed attempts for {EMAIL}.
{PERSON} has been a customer since {date}.
{LAST} v. {LAST2} was decided on {date}.
According to the file, {PERSON} was born {DOB} and lives at {ADDRESS}.
Reset the password of {EMAIL}, please.
If I am not there, leave it with {PERSON} next door.
I'm {PERSON}.
This is {PERSON} speaking, how can I help?
Mein Name ist {PERSON}, meine IBAN ist {IBAN}.
Je m'appelle {PERSON}, mon numéro est le {PHONE}.
Me llamo {PERSON} y mi correo es {EMAIL}.
""".strip().split("\n")

NEGATIVES = """
The order {order} of {date} has been shipped.
Tracking number {long}, expected on {weekday}.
Version {version} was released on {date}.
The invoice {order} over {amount} is due on {date}.
Build {hash} failed at {time}.
See {url} for details.
{org} reported revenue of {amount} million in {month}.
Meeting moved to {weekday} at {time}, room {num}.
Ticket {order}: the {product} does not start.
The warranty of the {product} ends on {date}.
Serial number {long}, model {product}.
request id {uuid}
We need {num} more chairs and {num} tables.
The train to {city} leaves at {time} from platform {num}.
Flight {order} to {city} is delayed by {num} minutes.
Please restart {host} and check the logs.
Population of {city}: {long}
The shop at the corner is closed on {weekday}.
Chapter {num} covers pages {num} to {num}.
The checksum is {hash}.
Upgrade from {version} to {version2} on {date}.
Your one-time code is {num}{num}.
Account opened {date}, balance {amount}.
Does {org} deliver to {city}?
Call the helpdesk if the {product} breaks.
Your card will arrive within {num} days.
Please enter your email address and phone number below.
The IBAN is printed on your bank statement.
The meeting is on {date}, not on {date2}.
Reference {long}, amount {amount}
ISBN 978-{num}-{num}-{num}-7
I read the news about {city} on {weekday}.
what's the weather like in {city}
can you book a table for {num} at {time}
remind me to buy a {product} on {weekday}
Step {num}: open the lid and remove the filter.
status=ok latency={num}ms id={hash}
The {word} of the {word2} is {word3}.
Turnover rose by {num} percent to {amount}.
It was founded on {date} and has {num} employees.
""".strip().split("\n")

DOCUMENTS = [
    "From: {PERSON} <{EMAIL}>\nTo: {PERSON2} <{EMAIL2}>\nDate: {date}\nSubject: {product}\n\nHi {FIRST2},\n\n{s}\n{s}\n\nBest,\n{FIRST}",
    "Dear {title} {LAST},\n\nThank you for your letter of {date}. {s} {s}\n\nYours sincerely,\n{PERSON2}\n{org}\n{ADDRESS}",
    "{PERSON}\n{ADDRESS}\n\n{city}, {date}\n\nTo whom it may concern,\n\n{s} {s}\n\nSincerely,\n{PERSON}",
    "Name: {PERSON}\nDate of birth: {DOB}\nAddress: {ADDRESS}\nPhone: {PHONE}\nE-mail: {EMAIL}\nReason: {s}",
    "First name: {FIRST}\nLast name: {LAST}\nEmail: {EMAIL}\nTel.: {PHONE}\nOrder no.: {order}\nMessage: {s}",
    "REGISTRATION FORM\nFull name  {PERSON}\nBorn       {DOB}\nSSN        {SSN}\nStreet     {ADDRESS}\nDate       {date}",
    '{{"id": {num}, "name": "{PERSON}", "email": "{EMAIL}", "phone": "{PHONE}", "created": "{stamp}"}}',
    '{{"user": {{"first_name": "{FIRST}", "last_name": "{LAST}", "dob": "{DOB}"}}, "ip": "{IP}", "session": "{uuid}"}}',
    '{{"order": "{order}", "total": "{amount}", "ship_to": {{"name": "{PERSON}", "address": "{ADDRESS}"}}, "card": "{CARD}"}}',
    '{{"iban": "{IBAN}", "holder": "{PERSON}", "amount": "{amount}", "ref": "{long}"}}',
    "{stamp} INFO {host} login user={EMAIL} ip={IP} session={hash}\n{stamp} WARN {host} retry {num} of {num}",
    "{stamp} ERROR payment failed card={CARD} order={order} amount={amount}",
    '{IP} - - [{date}:{time}] "GET /{word}/{num} HTTP/1.1" 200 {num}',
    "{date} {time} sshd[{num}]: Failed password for {word} from {IP} port {num}",
    "id,name,email,phone,city\n{num},{PERSON},{EMAIL},{PHONE},{city}\n{num},{PERSON2},{EMAIL2},{PHONE2},{city}",
    "name;iban;amount\n{PERSON};{IBAN};{amount}\n{PERSON2};{IBAN2};{amount}",
    "| name | born | phone |\n|---|---|---|\n| {PERSON} | {DOB} | {PHONE} |\n| {PERSON2} | {DOB2} | {PHONE2} |",
    "Agent: Hello, this is {FIRST2} from {org}. How can I help?\nCustomer: {s}\nAgent: May I have your name and number?\nCustomer: {PERSON}, {PHONE}.",
    "[{time}] {FIRST}: {s}\n[{time}] {FIRST2}: ok\n[{time}] {FIRST}: my mail is {EMAIL}",
    "<{FIRST}> {s}\n<{FIRST2}> which card?\n<{FIRST}> {CARD}",
    "Customer: {PERSON}\nCustomer no.: {order}\nIBAN: {IBAN}\nBIC: DEUTDEFF\nAmount: {amount}\nDue: {date}",
    "INVOICE {order}\n\nBill to:\n{PERSON}\n{ADDRESS}\n\n{product}  {amount}\nTotal  {amount}\n\nPlease pay to {IBAN} by {date}.",
    "Patient: {PERSON}\nDOB: {DOB}\nSSN: {SSN}\nAdmitted: {date}\nNotes: {s}",
    "CV\n{PERSON}\n{ADDRESS} | {PHONE} | {EMAIL}\n\nExperience\n{org}, {city}, since {date}\n{s}",
    "Minutes of {date}\nPresent: {PERSON}, {PERSON2}, {PERSON3}\n1. {s}\n2. {s}\nNext meeting {date}",
    "BEGIN:VCARD\nFN:{PERSON}\nTEL:{PHONE}\nEMAIL:{EMAIL}\nADR:{ADDRESS}\nBDAY:{DOB}\nEND:VCARD",
    "<customer><name>{PERSON}</name><mail>{EMAIL}</mail><tel>{PHONE}</tel><since>{date}</since></customer>",
    "INSERT INTO users VALUES ({num}, '{PERSON}', '{EMAIL}', '{DOB}');",
    "name = \"{PERSON}\"\nemail = \"{EMAIL}\"\nversion = \"{version}\"\nlicense = \"MIT\"",
    "commit {hash}\nAuthor: {PERSON} <{EMAIL}>\nDate:   {date}\n\n    {s}",
    "Signed-off-by: {PERSON} <{EMAIL}>\nReviewed-by: {PERSON2} <{EMAIL2}>",
    "Guest: {PERSON}, {num} nights from {date}. Card {CARD}. Phone {PHONE}.",
    "Payee {PERSON}\nAccount {IBAN}\nReference {order}\n{s}",
    "Ticket {order}\nReporter: {EMAIL}\nPriority: high\nDevice: {product}\nLast IP: {IP}\n\n{s} {s}",
    "To: {PERSON}\n    {ADDRESS}\nParcel {long}, weight {num} kg, {date}",
    "Voicemail from {PHONE}, {time}: hi, it's {PERSON}, {s} Call me back on {PHONE2}.",
    "Q: What is your date of birth?\nA: {DOB}\nQ: And the card number?\nA: {CARD}\nQ: Zip code?\nA: the same as before",
    "host: {host}\naddr: {IP}\nowner: {EMAIL}\nversion: {version}\nuuid: {uuid}",
    "Policy holder {PERSON}, born {DOB}, {ADDRESS}. Claim {order} of {date}: {s}",
    "- {PERSON} ({EMAIL})\n- {PERSON2} ({EMAIL2})\n- {PERSON3} ({EMAIL3})",
    "{s}\n\n-- \n{PERSON}\n{org}\nTel {PHONE}\n{url}",
    "username: {EMAIL}\nlast login: {stamp} from {IP}\nbilling card: {CARD}\n",
    "phone={PHONE}&email={EMAIL}&name={PERSON}&id={num}",
    "{s} {s} {s} {s}",
    "{s}\n{s}\n{s}",
]

VALIDATION_SENTENCES = """
You'll find {PERSON} at {ADDRESS} most afternoons.
Write to {EMAIL} if nobody answers {PHONE}.
I want to pay the {amount} with {CARD}.
The landlord, {PERSON}, asked for the rent on {IBAN}.
On {date} somebody signed in from {IP} as {EMAIL}.
{FIRST} turned {num} last week; the birth date is {DOB}.
My social is {SSN}, name {PERSON}.
{PERSON} told {FIRST2} that the {product} costs {amount}.
As far as I can tell, {EMAIL} belongs to {PERSON}.
The caller withheld nothing: {PHONE} showed up on the screen.
We could only verify the last name, {LAST}, and the year.
Would {PERSON} kindly come to gate {num}?
Our gardener {FIRST} trims the hedge every {weekday}.
No reply from {FIRST} or {FIRST2} yet.
In {month} {PERSON} handed the keys over to {title} {LAST2}.
The plastic I used was {CARD}, a gift from {org}.
They took {amount} off {CARD} without asking!
The subscription renews on {date} using card {CARD}.
Somebody typed {CARD} into the comment field.
Beneficiary account {IBAN}, value {amount}, urgent.
Why does the bank say {IBAN} does not exist?
salary goes to {IBAN} from {month} on
The firewall drops everything that {IP} sends.
ping {IP} gives {num} ms, {IP2} times out
Route traffic for {host} through {IP} after {time}.
Tax form shows {SSN} in box a.
He gave {SSN} as his social security no. and hung up.
The baby arrived on {DOB}; we named her {FIRST}.
Proof of age: {PERSON} was born {DOB}.
my birthday is {DOB} so i should get the discount
The flat at {ADDRESS} is still empty.
Pick me up from {ADDRESS} around {time}.
Can the technician come to {ADDRESS} on {date}?
Dial {PHONE}, then ask for {FIRST}.
whatsapp works best, {PHONE}
My old number {PHONE} no longer works since {date}.
""".strip().split("\n")

VALIDATION_NEGATIVES = """
Our offices in {city} stay closed until {date}.
The {product} weighs {num} grams and costs {amount}.
Pull request {num} was merged into release {version}.
Locker {long} was opened at {time}.
{org} hired {num} people in {city}.
Docket {order}, filed {date}, has {num} pages.
The digest {hash} does not match the one at {url}.
Bus {num} skips the {city} stop on {weekday}.
""".strip().split("\n")

VALIDATION_DOCUMENTS = [
    "Booking {order}\nTraveller: {PERSON}\nBirth date: {DOB}\nContact: {PHONE} / {EMAIL}\nPaid: {amount} with {CARD}",
    "Hello team,\n{s}\n{s}\nThe customer's account is {IBAN}.\nMany thanks\n{PERSON}",
    '[{{"contact": "{PERSON}", "mobile": "{PHONE}"}}, {{"contact": "{PERSON2}", "mobile": "{PHONE2}"}}]',
    "{stamp} auth ok account={EMAIL} src={IP} took {num}ms",
    "{s} {s}",
    "Visitor log {date}\n{time}  {PERSON}  {org}\n{time}  {PERSON2}  {org}",
    "Guarantor: {PERSON}\nResident at: {ADDRESS}\nBorn: {DOB}\nSocial security: {SSN}",
    "fax\nfrom {PERSON}, {PHONE}\nto {PERSON2}, {PHONE2}\n\n{s}",
    '{{"event": "checkout", "buyer": {{"display": "{PERSON}", "mail": "{EMAIL}"}}, "pan": "{CARD}", "client": "{IP}", "ts": "{stamp}"}}',
    "[customer]\nfull_name={PERSON}\nzip_and_street={ADDRESS}\niban={IBAN}\nplan={num}",
    "{FIRST} > {s}\n{FIRST2} > sure\n{FIRST} > great, see you {weekday}",
    "date,who,account,sum\n{date},{PERSON},{IBAN},{num}\n{date},{PERSON2},{IBAN2},{num}",
    "Hey {FIRST},\n\n{s} {s}\n\nTalk soon,\n{FIRST2}",
    "To whom it concerns: {s} {s} {title} {LAST}, {org}",
    "{s}\n{s}\n{s}",
    "<person first=\"{FIRST}\" last=\"{LAST}\" birth=\"{DOB}\" tel=\"{PHONE}\"/>",
    "{time} dhcpd: lease {IP} for {host} until {time}\n{time} dhcpd: lease {IP2} released",
]
