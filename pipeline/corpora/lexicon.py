"""Words of the sample corpus, composed for it: field terms by topic, and English for any field."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """A research area: its class, its arXiv category, and its terms, the commonest first."""

    label: str
    category: str
    terms: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _topic(label: str, category: str, terms: str) -> Topic:
    return Topic(label, category, _words(terms))


TOPICS = (
    _topic(
        "cs",
        "cs.NI",
        "network wireless routing packet protocol throughput latency spectrum "
        "channel node traffic congestion broadcast queue internet sensor relay handover cellular",
    ),
    _topic(
        "cs",
        "cs.CL",
        "language corpus translation sentence word parsing semantic speech text "
        "grammar embedding dialogue token annotation lexical question summary transformer",
    ),
    _topic(
        "cs",
        "cs.DS",
        "algorithm graph approximation complexity tree polynomial cut matching "
        "hashing sorting lower runtime vertex online deterministic streaming matroid clique",
    ),
    _topic(
        "cs",
        "cs.CV",
        "image object detection segmentation convolutional camera pixel video face "
        "feature recognition pose visual scene tracking dataset texture neural",
    ),
    _topic(
        "cs",
        "cs.CR",
        "security attack encryption privacy key malware authentication adversary "
        "blockchain secret protocol leakage trust cryptographic signature threat vulnerability",
    ),
    _topic(
        "cs",
        "cs.LO",
        "logic automata verification program semantics proof type temporal checking "
        "reasoning specification concurrent decidable calculus software compiler rewriting",
    ),
    _topic(
        "cs",
        "cs.RO",
        "robot planning navigation agent reinforcement policy reward grasp trajectory "
        "autonomous vehicle learning controller obstacle mapping manipulation human",
    ),
    _topic(
        "math",
        "math.AG",
        "variety scheme moduli cohomology sheaf curve bundle divisor morphism "
        "projective surface singularity ideal hodge rational fibration toric birational",
    ),
    _topic(
        "math",
        "math.FA",
        "operator banach hilbert norm compact bounded linear functional spectrum "
        "semigroup subspace weakly convex lipschitz interpolation multiplier duality",
    ),
    _topic(
        "math",
        "math.GT",
        "manifold knot homology surface hyperbolic embedding fundamental torus "
        "braid contact triangulation invariant genus foliation mapping geodesic cobordism",
    ),
    _topic(
        "math",
        "math.NT",
        "prime modular galois integer arithmetic zeta congruence field elliptic "
        "quadratic residue form conjecture adic height automorphic cyclotomic",
    ),
    _topic(
        "math",
        "math.CO",
        "graph vertex coloring partition permutation poset hypergraph extremal "
        "matching polytope enumeration tree lattice combinatorial chromatic tiling sequence",
    ),
    _topic(
        "math",
        "math.AP",
        "equation solution boundary elliptic parabolic regularity existence "
        "nonlinear dirichlet uniqueness wave sobolev blowup domain weak asymptotic diffusion",
    ),
    _topic(
        "math",
        "math.RT",
        "representation algebra module lie group character category quiver simple "
        "irreducible tensor weyl crystal root nilpotent finite quantum",
    ),
    _topic(
        "physics",
        "physics.optics",
        "laser optical photon cavity light waveguide polarization pulse "
        "refractive fiber photonic resonance beam nonlinear plasmonic mode wavelength",
    ),
    _topic(
        "physics",
        "physics.flu-dyn",
        "flow turbulence vortex reynolds fluid drag viscosity channel "
        "boundary convection droplet bubble shear instability jet mixing surface",
    ),
    _topic(
        "physics",
        "physics.atom-ph",
        "atom electron ionization spectroscopy hyperfine trap cooling "
        "collision energy molecule state transition clock magnetic scattering excitation ion",
    ),
    _topic(
        "physics",
        "physics.ins-det",
        "detector calibration neutrino background scintillator silicon "
        "radiation resolution trigger cryogenic readout energy experiment beam photomultiplier",
    ),
    _topic(
        "physics",
        "physics.plasm-ph",
        "plasma magnetic tokamak instability wave electron field heating "
        "confinement ion transport reconnection fusion kinetic discharge particle",
    ),
    _topic(
        "engineering",
        "eess.SP",
        "signal antenna beamforming estimation channel receiver filter radar "
        "sparse noise modulation transmitter precoding interference mimo compressed sampling",
    ),
    _topic(
        "engineering",
        "eess.SY",
        "control controller stability feedback power grid voltage converter "
        "actuator delay observer plant battery nonlinear tracking linear switching",
    ),
    _topic(
        "engineering",
        "eess.IV",
        "image reconstruction tomography denoising scan resolution contrast "
        "segmentation deep compression ultrasound video registration magnetic sensor",
    ),
    _topic(
        "stat",
        "stat.ME",
        "estimator bayesian regression inference prior posterior covariate likelihood "
        "treatment causal sample missing variance survival longitudinal quantile hypothesis",
    ),
    _topic(
        "stat",
        "stat.ML",
        "kernel gaussian learning sparse variational bandit clustering gradient "
        "classifier regret lasso mixture prediction sampling data neural dimension",
    ),
    _topic(
        "stat",
        "stat.AP",
        "survey forecast temporal spatial rainfall hierarchical count data season risk "
        "effect smoothing census health trend uncertainty sample",
    ),
    _topic(
        "bio",
        "q-bio.NC",
        "neuron brain cortex synaptic spike firing stimulus neural cognitive memory "
        "oscillation membrane excitatory plasticity visual population network",
    ),
    _topic(
        "bio",
        "q-bio.PE",
        "population species evolution epidemic infection mutation fitness selection "
        "genetic host vaccine ecological phylogenetic migration predator tree spread",
    ),
    _topic(
        "bio",
        "q-bio.BM",
        "protein gene cell molecular folding expression binding sequence genome dna "
        "enzyme regulatory receptor peptide transcription pathway structure",
    ),
    _topic(
        "econ",
        "econ.TH",
        "market equilibrium price agent utility welfare auction consumer firm "
        "incentive preference contract mechanism bidder information trade",
    ),
    _topic(
        "econ",
        "econ.EM",
        "income panel wage growth household policy instrument inflation trade "
        "demand regression treatment forecast volatility labor elasticity",
    ),
)

# Words that no topic has and every class uses equally; only which two meet, and in which order,
# tells the class.
ORDERED = _words(
    "motion system local global dynamics profile ratio interval transfer order phase measure "
    "space scale function random process time limit density error rate balance "
    "constraint distribution optimal stochastic multiple mean regular response test "
    "component factor cycle level pattern term index range source unit weight variable"
)

ADJECTIVES = _words(
    "new general simple efficient large small finite robust explicit classical complex "
    "novel strong weak natural recent known certain various different important possible "
    "standard particular direct fast accurate empirical theoretical numerical practical "
    "flexible adaptive unified common underlying effective relevant appropriate sufficient "
    "precise high low main key modern alternative basic rigorous detailed systematic broad"
)

NOUNS = _words(
    "method result approach model problem analysis theory framework technique application "
    "property condition example case set class study setting performance behavior bound "
    "parameter construction procedure experiment simulation description question extension "
    "comparison assumption characterization formula scheme principle tool solution evidence "
    "observation implementation design strategy formulation aspect argument discussion "
    "overview review"
)

OPENINGS = (
    "We study",
    "We show",
    "This paper presents",
    "We introduce",
    "In this work we consider",
    "We propose",
    "It is shown that",
    "We prove",
    "Here we give",
    "The aim is to understand",
    "Our main contribution is",
    "We also discuss",
    "As a consequence we obtain",
    "Moreover we examine",
    "Finally we compare",
    "We investigate",
    "This note concerns",
    "The present article develops",
    "In contrast to earlier work we use",
    "We describe",
    "Experiments confirm",
    "Numerical tests support",
    "Building on this, we derive",
    "A central role is played by",
    "Motivated by practice, we revisit",
    "Unlike previous attempts, we handle",
    "In particular we establish",
    "It turns out that",
    "Several open questions remain about",
    "We report",
    "To this end we analyse",
    "Based on",
)

CONNECTORS = (
    "of",
    "of the",
    "for",
    "for a",
    "in",
    "in the",
    "with",
    "with a",
    "and",
    "and the",
    "on",
    "from the",
    "under",
    "by means of",
    "via",
    "with respect to",
    "between",
    "as well as",
    "using the",
    "that is a",
    "which gives a",
    "without any",
    "over",
    "to the",
    "together with",
    "subject to",
    "in terms of",
    "depending on",
    "leading to",
    "that allows for",
    "among",
    "but not for",
    "where the",
    "such as",
    "based on a",
    "beyond the",
    ", including",
    ", and hence",
    "(that is, the",
    "(see also",
)

# The last five hold what breaks careless cleaning: displayed formulas, a formula over two lines, a
# price, an unclosed dollar sign.
FORMULAS = (
    "$n$",
    "$G$",
    "$\\alpha$",
    "$x_i$",
    "$k \\geq 2$",
    "$O(n \\log n)$",
    "$\\mathbb{R}^d$",
    "$L^p$",
    "$\\sum_{i=1}^{n} a_i$",
    "$\\epsilon > 0$",
    "$p$",
    "$f: X \\to Y$",
    "$\\lambda_{\\max}$",
    "$10^{-3}$",
    "\\emph{almost}",
    "\\cite{b12}",
    "$\\mathcal{H}$",
    "$\\frac{1}{2}$",
    "$T_c$",
    "95\\%",
    "{\\it stable}",
    "$SU(2)$",
    "$H^1(M, \\mathbb{Z})$",
    "$q$-deformed",
    "$(a,b)$",
    "$\\Delta u = f(u)$",
    "$d=3$",
    "$m/n$",
    "$$\\int_0^1 g(t)\\,dt = c$$",
    "\\[ a_{n+1} = a_n + r \\]",
    "$u_t +\n u_x$",
    "\\$ 100",
    "$ z <",
)

UNICODE = (
    "Erdős",
    "Schrödinger",
    "Poincaré",
    "Hölder",
    "Gödel",
    "Gauß",
    "naïve",
    "à priori",
    "Łojasiewicz",
    "α",  # noqa: RUF001
    "β",
    "λ",
    "μm",
    "Σ",
    "—",
    "–",  # noqa: RUF001
    "“smooth”",
    "→",
    "≤",
    "×",  # noqa: RUF001
    "°",
    "é",
    "日本語",
    "π/2",
    "🚀",
    "🙂",
)

_ONSETS = _words("b br c ch d dr f g gr h j k kl l m n p r s sh st t tr v w z")
_VOWELS = _words("a e i o u ai ei ou")
_CODAS = _words("l n r s t k m nd rt ng")
_ENDINGS = _words("son ov er ini ez aki sky berg mann ard ell ton")


def _surnames() -> tuple[str, ...]:
    heads = [o + v + c for o in _ONSETS for v in _VOWELS for c in _CODAS]
    # A stride prime to the number of heads spreads the sounds; each head occurs once.
    count = 1500
    return tuple(
        (heads[i * 467 % len(heads)] + _ENDINGS[i % len(_ENDINGS)]).capitalize()
        for i in range(count)
    )


SURNAMES = _surnames()
"""Made-up names: authors, and the rare words of the texts."""

FORENAMES = _words(
    "Ada Ben Carla Dmitri Elena Farid Grace Hugo Ines Jan Kei Lina Marco Nadia Omar Priya "
    "Quentin Rosa Sven Tara Umar Vera Wei Ximena Yusuf Zoe"
)
