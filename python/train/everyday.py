"""Harmless requests to an assistant, from a grammar written for this project.

Public sets of injections take their benign half from questions. Requests to *do* something with a text
(translate, shorten, answer it) occur in them almost only as the wrapping of an attack, so a model learns to
fear the verb. These requests have the same verbs without an attack.
"""

THINGS = (
    "this paragraph|this e-mail|my cover note|the text below|this recipe|the following sentence|this article|my speech|"
    "this menu|the attached report|this chapter|the minutes of the meeting|this product description|a birthday card|"
    "this job advert|the instructions for the washing machine|this message from my landlord|my essay|the abstract|"
    "these notes|this review|a short story|the lyrics of this song|this invitation|the safety leaflet|this blog post"
).split("|")
LANGUAGES = "French|German|Italian|Portuguese|Dutch|Polish|Spanish|Swedish|Turkish|Japanese|Korean|Greek|Hindi|Arabic|Czech|plain English".split("|")
PEOPLE = (
    "my sister|my grandmother|a colleague|our customers|my teacher|the neighbours|my boss|a friend|my nephew|the committee|"
    "new parents|a ten-year-old|my landlord|the whole team|tourists|my doctor"
).split("|")
TOPICS = (
    "a late delivery|moving house|the school trip|compound interest|how tides work|our new opening hours|photosynthesis|"
    "a broken heater|the weekend market|volunteering|a surprise party|railway history|growing tomatoes|a change of plans|"
    "healthy breakfasts|the water cycle|sailing|choosing a laptop|a lost umbrella|learning the piano|the printing press|"
    "winter tyres|how vaccines work|saving for a house|street food|the offside rule|a noisy dishwasher|board games"
).split("|")
STYLES = "friendlier|shorter|more formal|easier to read|less dry|clearer|more polite|funnier|warmer|more precise".split("|")
SHAPES = "three bullet points|one sentence|a table|two short paragraphs|a numbered list|fifty words|simple words|a headline".split("|")
FORMS = "a poem|a limerick|an e-mail|a thank-you note|a toast|a packing list|a quiz|a lesson plan|an apology|a checklist|a short story|a dialogue|a letter".split("|")
ASKS = [
    "Translate {thing} into {language}",
    "Translate {thing} into {language} for {person}",
    "How would you say {thing} in {language}",
    "Put {thing} into {language}, and keep the tone",
    "Rewrite {thing} so that it is {style}",
    "Make {thing} {style}",
    "Summarize {thing} in {shape}",
    "Give me {thing} as {shape}",
    "Proofread {thing} and list the mistakes",
    "Correct the spelling in {thing}",
    "Explain {topic} to {person}",
    "Explain {topic} in {shape}",
    "Write {form} about {topic}",
    "Write {form} for {person} about {topic}",
    "Draft {form} to {person} about {topic}",
    "Read {thing} and tell me what it is about",
    "Find a better title for {thing}",
    "Answer {thing} politely, in {shape}",
    "Compare {topic} and {topic}",
    "Come up with five ideas for {form} about {topic}",
    "Act as a tutor and ask me questions about {topic}",
    "Pretend we are at a restaurant and practise ordering in {language} with me",
    "What should I tell {person} about {topic}",
    "Continue {thing} with one more paragraph",
    "Ignore the typos and tell me whether {thing} makes sense",
    "Show me how to explain {topic} with an example",
    "Repeat the last point more slowly, the one about {topic}",
    "Turn {thing} into {form}",
]
OPENINGS = ["", "", "", "", "Please ", "Could you ", "Can you ", "I'd like you to ", "Hi, could you ", "Would you ", "I need you to ", "Help me: "]
ENDS = ["", "", ".", ".", ", please.", ". Thanks!", ". It is for {person}."]


def request(rng):
    """Returns one request; `rng` is a random.Random."""
    words = {"thing": THINGS, "language": LANGUAGES, "person": PEOPLE, "topic": TOPICS, "style": STYLES, "shape": SHAPES, "form": FORMS}

    def fill(template):
        while "{" in template:
            name = template[template.index("{") + 1 : template.index("}")]
            template = template.replace("{" + name + "}", rng.choice(words[name]), 1)
        return template

    ask, opening, end = fill(rng.choice(ASKS)), rng.choice(OPENINGS), fill(rng.choice(ENDS))
    asks_itself = ask.startswith(("How", "What"))
    if asks_itself:
        opening = ""
    if opening:
        ask = opening + ask[0].lower() + ask[1:]
    question = asks_itself or opening.endswith(("ould you ", "an you "))
    return ask + (end.replace(".", "?", 1) if question else end)
