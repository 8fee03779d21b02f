"""Plain facts of the world as sentences, so that the masked language model knows the plainest ones.

Each fact comes in several wordings; the last wording of each kind is for the test alone. A masked position is one
token, so a fact whose answer is several tokens cannot be filled in: the test leaves it out and counts it.
"""

CAPITALS = """
France Paris|Germany Berlin|Italy Rome|Spain Madrid|England London|Russia Moscow|China Beijing|Japan Tokyo|Austria Vienna|Greece Athens|Egypt Cairo|Cuba Havana|Ireland Dublin|Portugal Lisbon|Poland Warsaw|Hungary Budapest|Norway Oslo
Sweden Stockholm|Denmark Copenhagen|Finland Helsinki|Belgium Brussels|Turkey Ankara|Iran Tehran|Iraq Baghdad|Israel Jerusalem|Kenya Nairobi|Canada Ottawa|Australia Canberra|Peru Lima|Chile Santiago|Thailand Bangkok|Vietnam Hanoi|Ukraine Kiev
Switzerland Bern|Scotland Edinburgh|Wales Cardiff|Romania Bucharest|Bulgaria Sofia|Serbia Belgrade|Croatia Zagreb|Iceland Reykjavik|Netherlands Amsterdam|Indonesia Jakarta|Philippines Manila|Syria Damascus|Lebanon Beirut|Libya Tripoli
Tunisia Tunis|Morocco Rabat|Ghana Accra|Senegal Dakar|Jordan Amman|Afghanistan Kabul|Pakistan Islamabad|Colombia Bogota|Venezuela Caracas|Ecuador Quito|Panama Panama|Jamaica Kingston|Nepal Kathmandu|Korea Seoul|Taiwan Taipei|Cyprus Nicosia
""".replace("\n", "|").strip("|").split("|")
LANGUAGES = "France French|Germany German|Italy Italian|Spain Spanish|England English|Russia Russian|China Chinese|Japan Japanese|Greece Greek|Portugal Portuguese|Poland Polish|Norway Norwegian|Sweden Swedish|Denmark Danish|Turkey Turkish|Egypt Arabic|Brazil Portuguese|Mexico Spanish|Austria German|Cuba Spanish|Peru Spanish|Australia English|Korea Korean|Hungary Hungarian|Netherlands Dutch".split("|")
CONTINENTS = "France Europe|Germany Europe|Italy Europe|Spain Europe|Poland Europe|China Asia|Japan Asia|India Asia|Thailand Asia|Egypt Africa|Kenya Africa|Ghana Africa|Morocco Africa|Brazil America|Peru America|Canada America|Mexico America|Norway Europe|Sweden Europe|Iran Asia|Iraq Asia|Chile America|Greece Europe|Nigeria Africa".split("|")
OPPOSITES = "hot cold|big small|good bad|up down|left right|black white|day night|old new|young old|long short|high low|open closed|rich poor|early late|full empty|light dark|war peace|love hate|life death|strong weak|fast slow|north south|east west|true false|happy sad|hard soft|wet dry|first last|begin end|buy sell|win lose|question answer|man woman|boy girl|inside outside|near far|heaven hell|friend enemy|summer winter|always never".split("|")
THINGS = "sky blue|grass green|snow white|blood red|coal black|sun yellow|night dark|ice cold|fire hot|sugar sweet|sea blue|milk white|lemon yellow|gold yellow|stone hard|water wet|feather light|iron hard".split("|")
AFTER = "Monday Tuesday|Tuesday Wednesday|Wednesday Thursday|Thursday Friday|Friday Saturday|Saturday Sunday|Sunday Monday|January February|February March|March April|April May|May June|June July|July August|August September|September October|October November|November December|December January|one two|two three|three four|four five|five six|six seven|seven eight|eight nine|nine ten|spring summer|summer autumn|autumn winter|winter spring".split("|")
ANIMALS = "cat animal|dog animal|horse animal|whale animal|rose flower|oak tree|apple fruit|banana fruit|carrot vegetable|hammer tool|iron metal|gold metal|water liquid|oxygen gas|piano instrument|violin instrument|chair furniture|car vehicle|bus vehicle|ship vessel|Paris city|London city|Berlin city|Rome city|France country|Germany country|Italy country|Africa continent|Asia continent|Europe continent|red color|blue color|green color|Monday day|June month|winter season|football sport|tennis sport|chess game|bread food|coffee drink|tea drink|doctor person|teacher person|eagle bird|shark fish|bee insect|Mars planet|Earth planet".split("|")
PAIRS = "salt pepper|bread butter|black white|day night|men women|boys girls|husband wife|brother sister|mother father|ladies gentlemen|king queen|cup saucer|knife fork|rock roll|law order|supply demand|trial error|thunder lightning|heaven earth|right wrong|north south|food drink|hand foot|body soul|war peace|time money|fish chips|needle thread|lock key|pen paper|question answer|rise fall|life death|up down".split("|")
KINDS = {
    "capital": (CAPITALS, [
        "The capital of {a} is {b}.", "{b} is the capital of {a}.", "The capital city of {a} is {b}.", "What is the capital of {a}? {b}.", "{a}'s capital is {b}.", "{b} is the largest city and the capital of {a}.", "We flew to {b}, the capital of {a}.", "the capital of {a} is {b}",
        "The government of {a} sits in {b}.", "{b}, {a}", "The capital of {a} is called {b}.", "Do you know the capital of {a}? It is {b}.", "In {a}, the capital is {b}.", "Everybody knows that the capital of {a} is {b}."]),
    "language": (LANGUAGES, ["In {a}, people speak {b}.", "The language of {a} is {b}.", "{b} is spoken in {a}.", "The official language of {a} is {b}.", "She moved to {a} and learned {b}.", "He comes from {a}, so he speaks {b}.", "Most people in {a} speak {b}."]),
    "continent": (CONTINENTS, ["{a} is in {b}.", "{a} is a country in {b}.", "{a} lies in {b}.", "The continent of {a} is {b}.", "They travelled through {b} to {a}.", "{a} is part of {b}.", "You find {a} in {b}."]),
    "opposite": (OPPOSITES, ["The opposite of {a} is {b}.", "{a} is the opposite of {b}.", "It is not {a} but {b}.", "{a} and {b} are opposites.", "It was neither {a} nor {b}.", "If it is not {a}, it is {b}.", "The contrary of {a} is {b}."]),
    "colour": (THINGS, ["The {a} is {b}.", "{a} is {b}.", "as {b} as {a}", "What is the {a} like? It is {b}.", "The {a} looks {b}.", "We saw that the {a} was {b}.", "Everyone knows that {a} is {b}."]),
    "order": (AFTER, ["After {a} comes {b}.", "{b} follows {a}.", "{a}, {b}", "The one after {a} is {b}.", "First {a}, then {b}.", "{b} comes after {a}.", "Next after {a} is {b}."]),
    "kind": (ANIMALS, ["A {a} is a kind of {b}.", "{a} is a {b}.", "The {a} is a {b}.", "{a} (a {b})", "Is {a} a {b}? Yes.", "The word {a} names a {b}.", "What is {a}? It is a {b}."]),
    "pair": (PAIRS, ["{a} and {b}", "the {a} and the {b}", "They spoke of {a} and {b}.", "{b} and {a}", "with {a} and {b}", "between {a} and {b}", "It was all about {a} and {b}."]),
}


def facts(split):
    """Returns [(kind, sentence, answer, sentence with [MASK] for the answer)] of a split, in a fixed order."""
    found = []
    for kind, (items, wordings) in KINDS.items():
        for item in items:
            a, b = item.split(" ")
            for wording in wordings[:-1] if split == "train" else wordings[-1:]:
                sentence = wording.format(a=a, b=b)
                masked = wording.format(a=a, b="[MASK]")
                found.append((kind, sentence[0].upper() + sentence[1:], b, masked[0].upper() + masked[1:]))
    return found
