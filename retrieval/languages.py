"""What the words of each language need: a Snowball stemmer, and the function words that nobody looks for.

The lists are short and our own, articles, pronouns, prepositions, conjunctions and auxiliaries: whatever else
is frequent BM25 weighs down by itself, a list with words of meaning would hide passages, and one that
changes with somebody's release would have every posting written again.
"""

from dataclasses import dataclass
from types import MappingProxyType

ENGLISH = "en"

_FUNCTION_WORDS = {
    "en": """
a about above after again against all also am an and any are aren't as at be because been before
being below between both but by can can't cannot could couldn't did didn't do does doesn't doing
don't down during each few for from further had hadn't has hasn't have haven't having he he'd
he'll her here hers herself him himself his how i i'd i'll i'm i've if in into is isn't it itself
let's me more most my myself no nor not of off on once only or other our ours ourselves out over
own same she she'd she'll should shouldn't so some such than that the their theirs them themselves
then there these they they'd they'll they're they've this those through to too under until up
very was wasn't we we'd we'll we're we've were weren't what when where which while who whom why
will with won't would wouldn't you you'd you'll you're you've your yours yourself yourselves
""",
    "de": """
ab aber als also am an auch auf aus bei beim bin bis bist da dadurch daher damit dann daran das dass dein
deine deinem deinen deiner dem den denen denn der deren des dessen dich die dies diese diesem diesen dieser
dieses dir doch du durch ein eine einem einen einer eines er es euch euer eure für hat hatte hatten hattest
habe haben ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder jedes kann
kein keine keinem keinen keiner können könnte man mein meine meinem meinen meiner mich mir mit muss müssen
nach nicht noch nun nur ob oder ohne sein seine seinem seinen seiner sich sie sind so soll sollen sollte
über um und uns unser unsere unter vom von vor war waren warum was weil welche welchem welchen welcher
welches wenn wer werde werden wie wieder will wir wird wo wurde wurden zu zum zur zwischen
""",
    "fr": """
à ai as au aucun aucune aussi aux avait avec avez avoir avons c car ce ceci cela celle celles celui ces cet
cette ceux chez ci comme comment d dans de des donc dont du elle elles en entre es est et étaient était être
eu eux il ils j je l la là le les leur leurs lui m ma mais me même mes moi mon n ne ni nos notre nous on ont
ou où par pas peut plus pour pourquoi qu quand que quel quelle quelles quels qui s sa sans se sera ses si
son sont sous sur t ta te tes toi ton tous tout toute toutes tu un une vers vos votre vous y
""",
    "es": """
a al algo ante antes aquel aquella aquellas aquellos aquí así como con contra cual cuál cuales cuando cuándo
cómo de del desde donde dónde durante e el él ella ellas ellos en entre era eran es esa esas ese eso esos
esta está están estas este esto estos fue fueron ha había han hasta hay la las le les lo los más me mi mis
muy ni no nos nosotros o os otra otras otro otros para pero por porque qué que quien quién se según ser si
sí sin sobre son su sus también te tiene tienen tu tus tú u un una unas uno unos vosotros y ya yo
""",
    "it": """
a agli ai al alla alle allo anche aveva c che chi ci come con cosa cui d da dagli dai dal dalla dalle dallo
de degli dei del dell della delle dello di dove e è ed egli era erano essere gli ha hai hanno ho i il in io
l la le lei li lo loro lui ma me mi mia mie miei mio ne negli nei nel nella nelle nello noi non nostra
nostro o per perché più può quale quali quando quanto quella quelle quelli quello questa queste questi
questo se sei si sia siamo siete sono sta su sua sue sugli sui sul sulla sulle sullo suo suoi ti tra fra tu
tua tuo un una uno vi voi vostra vostro
""",
    "pt": """
a à ao aos aquela aquelas aquele aqueles aquilo as às até com como cujo da das de dela delas dele deles
depois do dos e é ela elas ele eles em entre era eram essa essas esse esses esta está estão estas este estes
eu foi foram há isso isto já lhe lhes mais mas me mesmo meu meus minha minhas muito na não nas nem no nos nós
nossa nosso num numa o onde os ou para pela pelas pelo pelos por porque qual quais quando que quem se sem ser
será seu seus sua suas são também te tem têm teu tua tu um uma você vocês vos
""",
    "nl": """
aan al als bij dan dat de der deze die dit doch doen door dus een eens en er ge geen had hadden hebben heeft
hem het hier hij hoe hun iets ik in is ja je kan kon kunnen maar me meer men met mij mijn moet na naar niet
niets nog nu of om omdat onder ons onze ook op over reeds te tegen toch toen tot u uit uw van veel voor waar
waarom was wat we wel welke wie wij wil worden wordt zal ze zelf zich zij zijn zo zonder zou
""",
    "sv": """
alla allt att av blev bli blir då de dem den denna deras dess dessa det detta dig din dina ditt du där efter
ej eller en er era ett från för ha hade han hans har henne hennes hon honom hur här i icke ingen inom inte
jag kan kunde man med mellan men mig min mina mitt mot mycket ni nu när någon något några och om oss på samma
sedan sig sin sina sitt själv skulle som så till under upp ut utan vad var vara varför varit vart vem vi vid
vilka vilken vilket vår våra vårt är över
""",
    "da": """
af alle alt at blev blive bliver da de dem den denne der deres det dette dig din dine disse dit dog du efter
eller en end er et for fra ham han hans har havde have hende hendes her hos hun hvad hvem hvilke hvilken
hvilket hvis hvor hvordan hvorfor i ikke ind jeg jer jeres kan kunne man mange med meget men mig min mine
mit mod ned nej nogen noget nogle nu når og også om op os over på selv sig sin sine sit skal skulle som sådan
thi til ud under var vi vil ville vor være været
""",
    "no": """
alle at av bare ble bli blir både da de deg dem den denne der dere deres det dette di din disse ditt du eg
eller en enn er et ett etter for fra før ha hadde han hans har hennes henne her hun hva hvem hver hvilke
hvilken hvis hvor hvordan hvorfor i ikke ingen inn ja jeg kan kunne man mange med meg meget mellom men mi min
mine mitt mot mye nei noe noen nå når og også om opp oss over på sa samme seg selv sin sine sitt skal skulle
slik som så til under ut uten var vart ved vi vil ville vår være vært
""",
    "fi": """
ei eivät en et että ettei hän hänen häntä he heidän heitä itse ja johon joka jonka jos jossa jota jotka joita
kanssa keiden keitä ketä koska kuin kuinka kuka kun me meidän meitä mihin mikä miksi milloin minkä minua
minun minä missä mitä mitkä mukaan mutta myös ne niiden niin niitä noin nuo nyt näiden näitä nämä ole olen
olet oli olivat olla olleet ollut on ovat se sekä sen siihen siinä sinä sinun sitä tai te teidän tämä tämän
tässä tätä tuo tuon vaan vai vaikka voi
""",
    "ru": """
а без более бы был была были было быть в вам вас весь во вот все всё всего всех вы где да даже для до его её
ее если есть ещё еще же за здесь и из или им их к как какая какие какой когда ко кто ли либо мне много может
можно мой моя мы на над надо нас не него неё нее нет ни них но ну о об однако он она они оно от очень по под
почему при с сам свой своя себя со так также такой там тем то того тоже той только том ты у уже чего чей чем
что чтобы эта эти это этого этой этом этот я
""",
    "pl": """
a aby albo ale bez będzie był była było były być bo by ci co czego czy czym dla do gdy gdzie go i ich ile im
inne innych iż ja jak jakie jako je jego jej jest jeszcze jeśli już każdy kiedy kto która które którego
której który których którzy lub ma mają mi mnie może można my na nad nam nas nasz nie niej nim nimi niż no o od
on ona one oni ono oraz po pod przed przez przy są się sobie swoje ta tak także tam te tego tej ten też to tu
ty tych tylko tym u w we więc wszystko wy z za że żeby
""",
    "cs": """
a aby aj ale ani až bez by byl byla byli bylo být co což či další do ho i já jak jako je jeho její jejich jen
ještě ji jím jsem jsi jsme jsou jste již k kam kde kdo kdy když ke která které kterého který kteří ku ma má
mě mezi mi mně mu my na nad nám nás náš ne nebo než ni nic o od on ona oni ono po pod podle pokud pro proč
proto protože před při s se si sve své svůj ta tak také takže tam te tě ten tedy to toho tohle tom tomto tu
tuto ty u už v vám vás váš ve více však vy z za zda že
""",
    "ro": """
a acea aceasta această acest aceste acestea acestei aceştia acel acela acelea acestui ai al ale am ar are aș
așa asupra au aveau avea avem că cât cărui care cărei ce cel celor cea cei cele cine către cu cum când da dacă
dar de deci decât despre din după ea ei el ele era erau este eu fără fi fie fiind fost iar îi îl îmi în înainte
între îşi îți la le lor lui mai mea mele mi mine nici nu o ori pe pentru până prin sa sale sau să său se şi și
sub sunt te tu un una unde unei unor unui va voi vom vor
""",
    "ca": """
a al als amb aquell aquella aquest aquesta això com d de del dels des e el ell ella elles ells els em en entre
era és es esta està et fins ha han hi i l la les li llur lo m més meu meva mi molt n ni no nos nosaltres o on
pel pels per perquè però qual quan que què qui s sense ser seu seva si sobre són sota també te teu teva ts tu
un una unes uns us vosaltres
""",
    "hu": """
a abban ahhoz ahogy akár aki akik akkor ami amely amelyek amikor az azok azon azt azzal be csak de e ebben egy
egyik el ellen én és ez ezek ezen ezért ezt fel ha hanem hogy hogyan hol hozzá is itt jól ki kell le lehet lesz
lett már még meg mely melyik mert mi miért mik milyen mind minden mint mit most nagyon nekem neki nem nincs ő ők
ön ott össze pedig s saját sem sok számára szerint ti te több ugyan után úgy vagy vagyok van vannak volt voltak
""",
    "tr": """
acaba ama ancak aslında az bana bazı belki ben beni benim beri bile bir biri biz bize bizim böyle bu buna bunda
bundan bunlar bunu bunun çok çünkü da daha de defa değil diye eğer en gibi göre hangi hem hep her hiç için ile
ise işte kadar ki kim kimse mi mı mu mü nasıl ne neden nerede niçin niye o olan olarak oldu olduğu olur ona ondan
onlar onu onun sana sanki sen seni senin siz sizin şey şu ve veya ya yani
""",
    "el": """
αλλά αν από αυτά αυτές αυτή αυτό αυτοί αυτός αυτών για γιατί δε δεν είμαι είναι εκεί ένα ένας εμείς εσείς εσύ
εγώ ή η ήταν θα και κατά κι μα με μετά μας μέσα μη μην μια μου να ο οι όμως όπως όσο όταν ότι ούτε παρά ποια
ποιο ποιος που πριν προς πως πώς σας σε στα στη στην στις στο στον στους στων συ τα τη την της τι τις το τον
του τους των χωρίς ως
""",
    "ar": """
أن أنا أنت أو أي إذا إلا إلى إن الا التي الذي الذين اللتي الى اما ان انه او اي أما بعد بل بين تلك ثم حتى حيث
ذلك على عن عند غير فى في قد كان كانت كل كما كم كيف لا لم لماذا لن له لها لو ما ماذا متى مع من منذ نحن هذا هذه
هل هم هنا هناك هو هي و وفي وقد وكان ولا ومن يا
""",
    "fa": """
آن آنها از است اما این اینکه اگر ای با بر برای بود بودند به بی تا تو چرا چه چون چگونه خود در را شد شده شما کجا
کدام که کرد کرده من ما می نیز نیست ها های هر هم همه و ولی وی یا یک
""",
    "hi": """
अपना अपनी अपने आप इन इस इसका इसकी इसके इसे उन उनका उनकी उनके उस उसका उसकी उसके उसे एक और कर करता करते करना कहाँ का कि
किस की कुछ के कैसे को कोई कौन क्या क्यों गया जब जहाँ जा जो तक तब तो था थी थे द्वारा न नहीं ने पर फिर भी में मैं यदि यह या ये वह
वहाँ वे से हम ही हुआ हुई हुए है हैं हो होता होती होते
""",
    "id": """
ada adalah agar akan aku anda antara apa apakah atau bagaimana bagi bahwa banyak beberapa bisa bukan dalam dan
dapat dari dengan di dia hanya harus ia ini itu jika juga kami kamu karena ke kepada kita lebih mana mengapa
mereka namun oleh pada para saat saya sebagai sebuah seperti serta siapa sudah tapi telah tentang terhadap
tersebut tetapi tidak untuk yaitu yang
""",
}

_STEMMERS = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "st": "sesotho",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
_SAME_AS = MappingProxyType({"nb": "no", "nn": "no"})

# What French, Italian, Catalan and Irish write together with the next word.
_ELIDED = {
    "fr": "c d j l m n s t qu jusqu lorsqu puisqu quoiqu presqu quelqu",
    "it": "c d l m n s t v un all dall dell nell sull coll quell quest bell sant gl",
    "ca": "d l m n s t",
    "ga": "b d m n",
}


@dataclass(frozen=True)
class Rules:
    """How the words of `language` (ISO 639-1) become terms. `stop_words` and `elided` are casefolded."""

    language: str
    stemmer: str
    stop_words: frozenset[str]
    elided: frozenset[str]


RULES: MappingProxyType[str, Rules] = MappingProxyType(
    {
        language: Rules(
            language,
            stemmer,
            frozenset(_FUNCTION_WORDS.get(language, "").casefold().split()),
            frozenset(_ELIDED.get(language, "").split()),
        )
        for language, stemmer in _STEMMERS.items()
    }
)


def rules_of(language: str) -> Rules:
    """The rules for an ISO 639-1 code; those of English where it is unknown, or has none of its own."""
    return RULES.get(_SAME_AS.get(language, language)) or RULES[ENGLISH]
