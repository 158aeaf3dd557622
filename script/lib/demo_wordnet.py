"""WordNet as a data set for the demo: one readable entry per synset.

Parses the database files described in wndb(5WN) and renders every synset the
way `wn` shows it: words with their sense numbers, gloss, the whole chain of
hypernyms, and every other pointer with the words and gloss it leads to.
The output depends on the database files alone.
"""

import os

DEFAULT_DIR = "/usr/share/wordnet"
PARTS = ("noun", "verb", "adj", "adv")
PART_OF = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
PART_TITLE = {
    "n": "noun",
    "v": "verb",
    "a": "adjective",
    "s": "adjective satellite",
    "r": "adverb",
}

# lexnames(5WN): the number in a data line is the index here.
LEX_FILES = (
    "adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact "
    "noun.attribute noun.body noun.cognition noun.communication noun.event "
    "noun.feeling noun.food noun.group noun.location noun.motive noun.object "
    "noun.person noun.phenomenon noun.plant noun.possession noun.process "
    "noun.quantity noun.relation noun.shape noun.state noun.substance "
    "noun.time verb.body verb.change verb.cognition verb.communication "
    "verb.competition verb.consumption verb.contact verb.creation "
    "verb.emotion verb.motion verb.perception verb.possession verb.social "
    "verb.stative verb.weather adj.ppl"
).split()

# wninput(5WN): pointer symbols, in the order the sections are rendered.
POINTERS = (
    ("!", "Antonyms"),
    ("&", "Similar to"),
    ("=", "Attributes"),
    ("*", "Entails"),
    (">", "Causes"),
    ("~", "Hyponyms"),
    ("~i", "Instances"),
    ("%m", "Has members"),
    ("%s", "Has substance"),
    ("%p", "Has parts"),
    ("#m", "Member of"),
    ("#s", "Substance of"),
    ("#p", "Part of"),
    ("$", "Verb group"),
    ("<", "Participle of"),
    ("\\", "Pertains to or derives from"),
    ("+", "Derivationally related forms"),
    ("^", "See also"),
    (";c", "Topic"),
    (";r", "Region"),
    (";u", "Usage"),
    ("-c", "Terms of this topic"),
    ("-r", "Terms of this region"),
    ("-u", "Terms of this usage"),
)
HYPERNYMS = ("@", "@i")

# wninput(5WN): generic sentence frames of verbs; frame 1 is the first.
FRAMES = (
    "Something ----s",
    "Somebody ----s",
    "It is ----ing",
    "Something is ----ing PP",
    "Something ----s something Adjective/Noun",
    "Something ----s Adjective/Noun",
    "Somebody ----s Adjective",
    "Somebody ----s something",
    "Somebody ----s somebody",
    "Something ----s somebody",
    "Something ----s something",
    "Something ----s to somebody",
    "Somebody ----s on something",
    "Somebody ----s somebody something",
    "Somebody ----s something to somebody",
    "Somebody ----s something from somebody",
    "Somebody ----s somebody with something",
    "Somebody ----s somebody of something",
    "Somebody ----s something on somebody",
    "Somebody ----s somebody PP",
    "Somebody ----s something PP",
    "Somebody ----s PP",
    "Somebody's (body part) ----s",
    "Somebody ----s somebody to INFINITIVE",
    "Somebody ----s somebody INFINITIVE",
    "Somebody ----s that CLAUSE",
    "Somebody ----s to somebody",
    "Somebody ----s to INFINITIVE",
    "Somebody ----s whether INFINITIVE",
    "Somebody ----s somebody into V-ing something",
    "Somebody ----s something with something",
    "Somebody ----s INFINITIVE",
    "Somebody ----s VERB-ing",
    "It ----s that CLAUSE",
    "Something ----s INFINITIVE",
)


class DataError(Exception):
    pass


class Synset:
    __slots__ = ("ss_type", "lex_file", "words", "senses", "pointers",
                 "frames", "gloss", "summary")


class WordNet:
    def __init__(self, directory=DEFAULT_DIR):
        self.directory = directory
        self.synsets = {}  # (part of speech, offset) -> Synset, in file order
        senses = self._read_indexes()
        for part in PARTS:
            self._read_data(part, senses)
        self._check_pointers()

    def _lines(self, name):
        path = os.path.join(self.directory, name)
        try:
            with open(path, encoding="latin-1") as f:
                for line in f:
                    if not line.startswith(" "):  # licence text is indented
                        yield line
        except OSError as e:
            raise DataError(
                f"cannot read {path} ({e.strerror}); WordNet comes with "
                "Debian's wordnet-base: apt-get install wordnet-base"
            ) from None

    def _read_indexes(self):
        """(part, lemma, offset) -> (sense number, number of senses)"""
        senses = {}
        for part in PARTS:
            for line in self._lines("index." + part):
                fields = line.split()
                lemma, count = fields[0], int(fields[2])
                # Offsets are the last fields, most frequent sense first.
                for number, offset in enumerate(fields[-count:], 1):
                    senses[part, lemma, offset] = (number, count)
        return senses

    def _read_data(self, part, senses):
        for line in self._lines("data." + part):
            try:
                self._read_synset(part, line, senses)
            except (ValueError, IndexError, KeyError) as e:
                raise DataError(
                    f"{self.directory}/data.{part}: line not as in "
                    f"wndb(5WN) ({e!r}): {line[:70]!r}"
                ) from None

    def _read_synset(self, part, line, senses):
        head, gloss = line.split("|", 1)
        fields = head.split()
        s = Synset()
        offset = fields[0]
        s.lex_file = LEX_FILES[int(fields[1])]
        s.ss_type = fields[2]
        count = int(fields[3], 16)
        at = 4 + 2 * count
        s.words, s.senses = [], []
        for word in fields[4:at:2]:
            # Adjectives may end in a marker of position, as in "galore(ip)".
            lemma = word.split("(", 1)[0] if part == "adj" else word
            s.words.append(lemma.replace("_", " "))
            s.senses.append(senses[part, lemma.lower(), offset])
        count = int(fields[at])
        at += 1
        s.pointers = []
        for i in range(at, at + 4 * count, 4):
            symbol, target, pos, ends = fields[i:i + 4]
            s.pointers.append((symbol, (PART_OF[pos], target),
                               int(ends[:2], 16), int(ends[2:], 16)))
        at += 4 * count
        s.frames = []
        if part == "verb":
            count = int(fields[at])
            for i in range(at + 1, at + 1 + 3 * count, 3):
                s.frames.append((FRAMES[int(fields[i + 1]) - 1],
                                 int(fields[i + 2], 16)))
        s.gloss = gloss.strip()
        s.summary = ", ".join(s.words) + ": " + s.gloss
        self.synsets[part, offset] = s

    def _check_pointers(self):
        for key, s in self.synsets.items():
            for symbol, target, _, _ in s.pointers:
                if target not in self.synsets:
                    raise DataError(
                        f"{self.directory}: data.{key[0]} {key[1]} points to "
                        f"data.{target[0]} {target[1]}, which does not exist; "
                        "data files of different versions?"
                    )

    def _hypernyms(self, key, indent, path, out):
        for symbol, target, _, _ in self.synsets[key].pointers:
            # Verbs have a cycle (inhibit - restrain), hence the path.
            if symbol in HYPERNYMS and target not in path:
                out.append(indent + "=> " + self.synsets[target].summary)
                self._hypernyms(target, indent + "  ", path | {target}, out)

    def render(self, key):
        s = self.synsets[key]
        out = [f"{', '.join(s.words)} ({PART_TITLE[s.ss_type]}, {s.lex_file})"]
        out.append(s.gloss)
        for word, (number, count) in zip(s.words, s.senses):
            out.append(f"  {word}: sense {number} of {count}")
        chain = []
        self._hypernyms(key, "  ", frozenset((key,)), chain)
        if chain:
            out.append("")
            out.append("Hypernyms:")
            out += chain
        sections = {}
        for symbol, target, source_word, target_word in s.pointers:
            if symbol in HYPERNYMS:
                continue
            t = self.synsets[target]
            line = "  "
            if source_word:  # between two words, not between whole synsets
                line += (f"{s.words[source_word - 1]} - "
                         f"{t.words[target_word - 1]}: ")
            if target[0] != key[0]:
                line += f"({PART_TITLE[t.ss_type]}) "
            sections.setdefault(symbol, []).append(line + t.summary)
        for symbol, title in POINTERS:
            if symbol in sections:
                lines = sections.pop(symbol)
                out.append("")
                out.append(f"{title} ({len(lines)}):")
                out += lines
        if sections:
            raise DataError(f"{self.directory}: unknown pointer symbol "
                            f"{sorted(sections)} in data.{key[0]} {key[1]}")
        if s.frames:
            out.append("")
            out.append("Sentence frames:")
            for frame, word in s.frames:
                verb = f"{s.words[word - 1]}: " if word else ""
                out.append(f"  {verb}{frame}")
        out.append("")
        return "\n".join(out)

    def entries(self):
        """Yields (key, value) as bytes, in the order of the data files."""
        for key in self.synsets:
            part, offset = key
            yield (f"wordnet:{part}:{offset}".encode(),
                   self.render(key).encode())
