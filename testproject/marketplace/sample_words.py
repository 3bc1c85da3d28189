"""The words that the sample data is made of."""

FIRST_NAMES = (
    "Ada", "Amir", "Anouk", "Bela", "Carmen", "Chidi", "Dana", "Elif", "Emil", "Farah", "Goran",
    "Hana", "Ines", "Ivo", "Jana", "Kofi", "Lena", "Liam", "Maya", "Mika", "Nadia", "Noor",
    "Olga", "Omar", "Pia", "Quinn", "Ravi", "Rosa", "Sami", "Tara", "Uma", "Viktor", "Wanda",
    "Yara", "Zoe",
)  # fmt: skip

LAST_NAMES = (
    "Abadi", "Bauer", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito",
    "Jansen", "Kaya", "Lopez", "Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Silva",
    "Tanaka", "Ulrich", "Varga", "Weber", "Yilmaz", "Zhang",
)  # fmt: skip

CITIES = (
    "Lisbon", "Oslo", "Nairobi", "Lyon", "Krakow", "Izmir", "Lima", "Kyoto", "Malmö", "Ghent",
    "Porto", "Tallinn", "Valencia", "Zagreb",
)  # fmt: skip

ADJECTIVES = (
    "Careful", "Quick", "Experienced", "Friendly", "Seasonal", "Independent", "Certified",
    "Creative", "Patient", "Bilingual",
)  # fmt: skip

TRADES = (
    "plumber", "web developer", "translator", "photographer", "gardener", "accountant",
    "illustrator", "carpenter", "tutor", "data analyst", "courier", "electrician",
)  # fmt: skip

SKILLS = [
    "Python", "Django", "SQL", "CSS", "Figma", "Excel", "welding", "tiling", "French", "Turkish",
    "copywriting", "video editing", "bookkeeping", "driving", "pruning",
]  # fmt: skip

INDUSTRIES = {
    "Building": ("Carpentry", "Electrics", "Painting", "Plumbing"),
    "Design": ("Illustration", "Logos", "Web design"),
    "Education": ("Languages", "Mathematics", "Music"),
    "Finance": ("Audits", "Bookkeeping", "Taxes"),
    "Garden": ("Lawns", "Pruning", "Terraces"),
    "Software": ("Apps", "Data", "Testing", "Websites"),
    "Transport": ("Couriers", "Moving house", "Parcels"),
    "Writing": ("Copywriting", "Proofreading", "Translation"),
}

SENTENCES = (
    "The work is clear and the start is next week.",
    "We met on site and agreed on every step.",
    "Tools and material are there.",
    "Please name a price that covers everything.",
    "Everything was ready a day early.",
    "Questions were answered within the hour.",
    "The last details took longer than planned.",
    "I have done this for eight years.",
    "Weekends are possible too.",
    "We would gladly work together again.",
    "A short call first would help both sides.",
    "The result looks better than the drawing.",
)
