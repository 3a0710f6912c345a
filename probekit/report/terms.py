"""What the terms on the page of each study mean."""

from probekit.report.words import capital

PROBING = (
    (
        "Reception",
        "telling emotional text from neutral text. It says that something is felt, not what.",
    ),
    ("Categorisation", "telling which emotion a text carries, among all that the set has."),
    ("Valence", "telling whether what happens is good or bad for the person."),
    (
        "Keyword-free and keyword-rich",
        "two arms of the same scenarios. Only the second names the emotion, so the first is the "
        "one in the headline wherever it was run.",
    ),
    ("Keyword effect", "AUROC on the keyword-rich arm minus AUROC on the keyword-free arm."),
    (
        "Text baseline",
        "a classifier on the words instead of the layers: bag of words, 1–2-grams, character "
        "n-grams, stop words, surface counts, a valence lexicon, static embeddings, surprisal. "
        "“Words alone” is the one of them that did best in inner folds.",
    ),
    (
        "Above text",
        "the probe’s AUROC minus that of words alone, on the same folds, with one bootstrap over "
        "scenarios shared by both. An interval that includes 0 shows nothing beyond the words.",
    ),
    (
        "Null",
        "what the probe reaches once the labels are permuted within the design. It is chance as "
        "measured here, and need not be .50.",
    ),
    (
        "AUROC",
        "the chance that a text of the class is scored above one outside it; with several classes, "
        "the mean over classes.",
    ),
    (
        "False alarm",
        "a neutral text that is called emotional. Vivid texts with nothing at stake are read by "
        "every reception probe, which never learns from them.",
    ),
    (
        "Rank correlation, cross-entropy",
        "what stands in the place of AUROC for ratings (Spearman’s, within folds) and for soft "
        "labels (in nats; smaller is better, and above text is what the probe saves).",
    ),
    (
        "Forced choice",
        "the share of pairs of which the probe picks the right text. "
        "Brier is the mean squared error of its probabilities, smaller being better.",
    ),
    (
        "Intervals",
        "95 %, by bootstrap over whole scenarios (clusters), never over single texts. "
        "p is from permutations; q is p after Benjamini–Hochberg.",
    ),
    (
        "Headline figure",
        "layer and regularisation are chosen in inner folds and scored on texts kept out. The peak "
        "of a curve over layers is chosen after the fact, and so is not a result.",
    ),
)

SOURCES = {
    "other": "a text of another emotion",
    "across": "a text of that other emotion from the other keyword arm",
    "same": "another text of the same emotion",
    "partner": "the emotional text of the same scenario",
    "neutral": "a neutral text",
    "random": "a random vector of the same length",
    "shuffled": "the text’s own state at another token",
    "none": "no patch",
}
"""Whose state is put in by a patch."""

PLACEBOS = {"same": "a text of the same emotion", "neutral": "another neutral text"}
"""Whose state is put in as the placebo, in a sentence."""

CAUSAL = (
    (
        "Reception and category",
        "whether a text carries an emotion at all, and which one. An edit may move the one and "
        "leave the other alone, so each has its own figures.",
    ),
    (
        "Log-odds",
        "of an emotion’s label against the other labels of the vocabulary, as the model would go "
        "on after the prompt; or of a class, as a probe at the last block gives them. Effects are "
        "edited minus unedited: 0 is no effect, +1 multiplies the odds by 2.7.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios (clusters); p by sign-flip permutation "
        "over clusters against 0; q is p after Benjamini–Hochberg.",
    ),
)

PATCHING = (
    (
        "Patching",
        "while the model reads one text, a state is put in that it had on another text. What then "
        "changes is what that state carries onwards from there.",
    ),
    *[(capital(name), said) for name, said in SOURCES.items() if name != "none"],
    (
        "Placebo",
        "the state of another real text, without what is asked about. Into an emotional text it is "
        "that of a text of the same emotion as the patched one; into a neutral text, that of "
        "another neutral text.",
    ),
    (
        "Above placebo",
        "the effect minus that of the placebo at the same place, paired by text. A layer counts if "
        "the effect’s interval lies on the asked side of 0 and this difference goes the same way "
        "at q < .05. An effect alone may be what any text’s state does; a difference alone may "
        "come from a placebo that moves the figure.",
    ),
    (
        "Above random",
        "the effect minus that of a random vector of the same length, paired by text. Such a "
        "vector is no state that the model ever has, and may move a figure far either way: the "
        "difference is shown, and decides nothing.",
    ),
    (
        "Trivial bound",
        "the last quarter of the layers at the token that is read out. What is put in there is "
        "read out directly, so it wins anyway and says nothing about how the model works.",
    ),
    *CAUSAL,
    (
        "Strongest layer",
        "the layer before the trivial bound whose effect is farthest from 0. It is chosen after "
        "the fact and so a little too large; the number of layers at q < .05 is not chosen.",
    ),
)

ABLATION = (
    (
        "Ablation",
        "what a unit writes is taken away, and the read-out is compared with that of the whole "
        "model. Below 0, the text’s own emotion loses: the unit helped.",
    ),
    (
        "Zero, mean, resample, project, random",
        "what is put in its place: nothing; the unit’s mean over texts; what it wrote on another "
        "text; itself without a direction; a random vector of equal length. A whole layer is both "
        "its sublayers.",
    ),
    (
        "Matched placebo",
        "the control of a single unit: the same unit at the same tokens is changed by exactly as "
        "much, text by text, but in a random direction. It is what any change of that length "
        "does, and each method has its own. One number has no direction, so single neurons have "
        "none.",
    ),
    (
        "Difference from the placebo",
        "the effect minus that of the matched placebo, paired by text. A unit is only said to "
        "matter if its effect and this difference both survive q < .05, and it does more than the "
        "placebo, not less.",
    ),
    (
        "Top k and random k",
        "the k units that helped most on the dev half, ablated together, beside as many drawn at "
        "random. The band holds 95 % of the draws; it is no interval of a mean.",
    ),
    (
        "Dev and test half",
        "units are ranked on the dev half and their effects are those of the test half, so that a "
        "unit is not shown at the figure that it was chosen by.",
    ),
    (
        "Smallest possible p",
        "with few clusters a permutation test cannot go below it. Where it lies above .05 divided "
        "by the number of units, no single unit can survive, whatever it does.",
    ),
    *CAUSAL,
)

DIRECTIONS = (
    (
        "Direction",
        "one vector for each emotion, at one layer. A text’s projection on it is one number, and "
        "nothing else is used: no probe is fitted on it.",
    ),
    (
        "Estimator",
        "how a direction is made. grouped: the emotion’s effect beside those of scenarios, neutral "
        "texts one more class. mean: its mean minus the mean of all emotions. control: minus the "
        "neutral texts of its scenarios. pca: mean, on the leading axes of the means. lda and "
        "logistic: the weights of a classifier.",
    ),
    (
        "Categorisation and reception",
        "whether texts of an emotion project farther than texts of the others; and farther than "
        "the neutral texts of their own scenarios.",
    ),
    (
        "AUROC",
        "the chance that a text of the emotion projects farther than one that is not of it. .50 is "
        "a coin. The mean is over emotions.",
    ),
    (
        "Words alone, above text",
        "the text baseline that did best in inner folds, on the same texts; and the difference of "
        "the projection from it, with one bootstrap over scenarios shared by both. It may be "
        "below 0.",
    ),
    (
        "Chance",
        "the same with labels permuted within the design and every direction estimated anew; p is "
        "the share of such AUROCs that are as large.",
    ),
    (
        "Random directions",
        "as many random vectors of the same length. The band holds 95 % of them.",
    ),
    (
        "Halves of the scenarios",
        "directions are estimated from one half of the scenarios and from the other, many times: "
        "the cosine is 1 where the scenarios do not matter, and 0 where they are all that matters. "
        "By the formula of Spearman (1910) and Brown (1910), halves of cosine c make a whole of "
        "2c / (1 + c): below ⅓, less than half of a direction of all scenarios is shared.",
    ),
    (
        "Without a domain",
        "the cosine of the direction of all scenarios with that of all but one domain’s. It is "
        "large because most texts are the same, so as many scenarios left out at random stand "
        "beside it.",
    ),
    (
        "Between arms",
        "one half’s direction from one arm, the other half’s from the other, so that no scenario "
        "is shared. Divided by the geometric mean of both arms’ own halves (Spearman 1904), it is "
        "1 where the arms differ by noise alone.",
    ),
    (
        "Single pairs",
        "the cosine of the difference of a single text and its control (its neutral text, where "
        "there is one) with its emotion’s direction. Where single differences point every which "
        "way, steering along their mean is unreliable (Braun et al. 2025).",
    ),
    (
        "The probe",
        "cosine with the weights of a logistic probe, and rank correlation of both scores. Weights "
        "lean against what correlates, a mean difference does not, so a small cosine does not say "
        "that the two read differently.",
    ),
    (
        "Tokens",
        "those that the direct path from a direction to the vocabulary raises most.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios (clusters); q is p after "
        "Benjamini–Hochberg.",
    ),
)

GEOMETRY = (
    (
        "States",
        "one vector a text: a site, a layer, a pooling. Each feature is divided by its standard "
        "deviation, since a few are so large that they alone would decide a distance.",
    ),
    (
        "Words alone",
        "the same figure of the words’ own geometry, as bag of words and as mean input embedding. "
        "They are two measures of the words and not all that the words say.",
    ),
    (
        "Above the words’ own, given the words",
        "the difference from the larger of the words’ figures, on the same draws of scenarios; "
        "and the correlation once what is linear in the ranks of the words’ distances is taken "
        "out of both sides. The second can leave a trace of the words.",
    ),
    (
        "Theories",
        "the circumplex is the plane of published valence and arousal (Russell 1980; norms of "
        "Warriner, Kuperman and Brysbaert 2013), valence and arousal its two axes; Plutchik’s "
        "wheel counts degrees, his opposites only what faces each other.",
    ),
    (
        "Distances of emotions",
        "squared, between the means of texts, each product taken across different scenarios, so "
        "that noise adds nothing to them (crossnobis, in its diagonal form). Theories are compared "
        "by the order of distances alone.",
    ),
    (
        "Noise ceiling",
        "what a true theory could be expected to reach, from halves of the scenarios: its lower "
        "and its upper bound.",
    ),
    (
        "Cosine of means",
        "around the mean of all emotions, so the cosines of many have a sum below 0. On the "
        "diagonal, how alike an emotion’s mean is in two halves of its scenarios, stepped up to "
        "all of them: nothing beside it can be read more finely than that.",
    ),
    (
        "Silhouette",
        "1 where a text is far nearer to its own class than to any other, 0 where it is as near "
        "to another one, below 0 where it is nearer to it. Texts of one scenario are not compared. "
        "Draws of scenarios lower it, so that its interval leans downwards.",
    ),
    (
        "Axes",
        "directions of valence and arousal, learned from the emotions’ means and published norms "
        "on dev (or half the scenarios), and tried on ratings of the rest. A few emotions in many "
        "dimensions lie along any order, so only texts within one emotion, or emotions the axis "
        "was learned without, say "
        "something.",
    ),
    (
        "Participation ratio",
        "how many dimensions carry the variance; of few points it is biased, and only means "
        "something beside the same figure of relabeled texts.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios (clusters); p by relabeling, of theories "
        "through every order of up to eight emotions; of a difference from words by the bootstrap. "
        "q is p after Benjamini–Hochberg over the layers of one figure; where one layer was run, "
        "p stands in its place.",
    ),
    (
        "Counts of layers",
        "a layer counts if q is below the level said and, of a correlation or a difference, its "
        "interval lies above 0.",
    ),
)

ERASURE = (
    (
        "Reception and categorisation",
        "telling emotional text from neutral text, and telling which emotion a text carries. Each "
        "is erased in each arm by itself.",
    ),
    (
        "LEACE",
        "least-squares concept erasure: the affine map that makes the means of the classes equal "
        "and moves the states least. On the texts it was fitted on, no linear probe can then be "
        "better than guessing.",
    ),
    (
        "Projection",
        "the span of the class means projected out, orthogonally. The means become equal too, and "
        "whatever else lies in that span goes with them.",
    ),
    (
        "Random directions",
        "the control: as many directions as LEACE erases, drawn at random and projected out.",
    ),
    (
        "New texts",
        "the eraser is fitted on one half of the learned scenarios, a new probe learns from the "
        "other half, erased, and both are tried on scenarios that neither has seen. This is the "
        "figure that says whether a concept is gone.",
    ),
    (
        "Same texts",
        "the probe learns from the texts that the eraser was fitted on. It is at chance by "
        "construction, and shows only that the eraser does what it says.",
    ),
    (
        "Chance",
        "labels permuted within the design, the eraser fitted to them and a probe trained on them "
        "anew. It is measured here, and need not be .50.",
    ),
    (
        "Beyond random",
        "the figure minus that after erasing random directions, paired by text. LEACE is only said "
        "to take something if the change from no erasing and this difference both survive "
        "q < .05.",
    ),
    (
        "Kept labels",
        "other labels of the same texts, read from the same erased states. Labels that go with the "
        "erased one by design are left out: they would be erased as well, and rightly.",
    ),
    (
        "Loss and placebo",
        "the model’s loss on the next token of neutral texts while the eraser acts at every token "
        "but the first. The placebo changes every state by as much, in a random direction.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios (clusters); p against chance is from "
        "permutations, that of a difference from the bootstrap; q is p after Benjamini–Hochberg "
        "over layers.",
    ),
)

SCORECARD = (
    (
        "Target accuracy",
        "the share of texts that the judge calls the emotion they were made for and that the rule "
        "does not call incoherent. A miss is a wrong emotion, no emotion, or an incoherent text.",
    ),
    (
        "Chance",
        "the share of plain texts, written without any method, that are judged as that emotion.",
    ),
    (
        "Random directions",
        "the control of steering: directions of the same lengths at the same layers, drawn at "
        "random. What they reach, any push of that size reaches.",
    ),
    (
        "Circuit and random components",
        "heads and neurons pushed to what they do in the emotion, or held at what they do in "
        "neutral texts (ablated); their control is as many others of each sublayer, at random.",
    ),
    (
        "Dose",
        "of directions, the length of what is added over the median length of the model’s states "
        "at that layer; of a circuit, a multiple of its components’ own mean effect. The two are "
        "no common scale.",
    ),
    (
        "Perplexity ratio",
        "perplexity of a reply given its plain prompt, over that of the plain reply to the same "
        "prompt; the median over prompts. What a method told the model is left out.",
    ),
    (
        "Equal fluency",
        "methods are compared where their median perplexity ratio reaches one bound, accuracy "
        "interpolated between doses; one that never reaches it stands at its largest dose, one "
        "without a dose at its own ratio, and one that starts beyond it has no figure.",
    ),
    (
        "Incoherent",
        "empty, in loops, of few different word pairs, or of a perplexity under another model "
        "beyond a bound. The bounds are in the manifest.",
    ),
    (
        "On the front",
        "the share of draws of prompts in which no other method and dose is both as accurate and "
        "as fluent, and better in one.",
    ),
    (
        "Relevance",
        "cosine of the embeddings of reply and prompt, less the mean cosine with other prompts.",
    ),
    (
        "KL and quiz",
        "how far the next tokens of neutral texts move, in nats; and forty questions of common "
        "knowledge with four options each, so that chance is .25.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole prompts, the same draws for every figure; p of "
        "paired differences flips the signs of whole prompts, at equal fluency it is from the "
        "bootstrap; q is p after Benjamini–Hochberg.",
    ),
)

CIRCUIT = (
    (
        "Circuit",
        "the heads and neurons that write most along an emotion’s direction, as many as said (k), "
        "spread over sublayers by their influence or taken by score alone (global).",
    ),
    (
        "Accepted",
        "a reply that the judge, who sees nothing but the reply, calls the emotion asked for. "
        "Chance is the share of plain replies, asked for no emotion, that it calls so.",
    ),
    (
        "Lift",
        "by how many nats per token the instruction makes a held-out accepted reply likelier than "
        "the plain prompt does. Its share is what is left of the lift under an ablation.",
    ),
    (
        "Ablated",
        "components held at what they do in neutral texts, at every token but the first.",
    ),
    (
        "Completeness and faithfulness",
        "a complete circuit leaves no lift when it is ablated; a faithful one keeps the lift when "
        "everything else (its complement) is. Each stands beside as many components of every "
        "sublayer, drawn at random.",
    ),
    (
        "Own label and reception",
        "by how many nats the log-odds of a text’s own emotion word change, and by how much the "
        "probe that tells emotional from neutral text does: what the model reads in vignettes that "
        "name no emotion.",
    ),
    (
        "Influence",
        "the change of an emotion’s log-odds in nats, per median residual norm (σ) of its "
        "direction added to what a sublayer writes at the last token of neutral texts; from the "
        "doses α where the response is linear. The null is of random directions of equal length. "
        "Readouts: the emotion’s word as the next token (labels), a probe of which emotion "
        "(category).",
    ),
    (
        "Jaccard",
        "components that two circuits share over all that either has; the null is the same of "
        "random components, as many in each sublayer.",
    ),
    (
        "Modulation",
        "an emotion brought about without asking: components pushed by a multiple (dose) of their "
        "mean effect in the emotion. Steering adds a direction, its dose is a share of the "
        "residual norm. The two doses are no common scale.",
    ),
    (
        "Equal fluency",
        "methods are compared where their median perplexity ratio over plain replies reaches 1.5; "
        "one that never reaches it stands at its largest dose, one without a dose at its own "
        "ratio, and one that starts beyond it has no figure.",
    ),
    (
        "Graph",
        "the strongest components, and exact effects of paths from a head straight to a neuron. "
        "Chance is the 95 % quantile of the sizes of paths from random heads to the same neurons.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios (clusters); p flips the signs of whole "
        "scenarios; q is p after Benjamini–Hochberg over what was tested together. Nulls are the "
        "mean and the middle 95 % of their draws.",
    ),
)
RETENTION = (
    (
        "Turn",
        "a neutral text and, after it, the text that is studied, as what a user says. What follows "
        "is forced: a neutral text, the same for every turn.",
    ),
    (
        "Offset",
        "tokens after the turn: 0 is the prompt’s last token, 1 the first of the neutral text.",
    ),
    (
        "AUROC",
        "chance that the probe gives a text of an emotion more of it than another text, at the "
        "same offset of the same neutral text; of several classes or offsets, the mean.",
    ),
    (
        "Words alone",
        "what the best text baseline, chosen on the development scenarios, tells of the turn’s own "
        "words. It does not know of offsets.",
    ),
    ("Above text", "the probe less words alone, on the same draws of scenarios."),
    (
        "Removed",
        "keys and values taken out of the past after an offset, positions kept: of the turn’s "
        "text; of the header after it; of both; of as many tokens of the neutral text before it; "
        "of as many tokens at random, or as many as the header has, the first never.",
    ),
    (
        "Share kept",
        "AUROC above one half that is left, as a share of that with nothing removed; missing where "
        "there is hardly any.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios; p against chance by permutation, of "
        "differences by bootstrap; q is p after Benjamini–Hochberg over all tests of the study.",
    ),
)
EXPRESSION = (
    (
        "Read-out",
        "a linear probe of the post’s label at the prompt’s last token, or of the mean over the "
        "reply’s tokens; layer and penalty chosen in inner folds of development scenarios.",
    ),
    ("Judge", "reads the reply alone and gives probabilities of labels; it knows nothing else."),
    ("Agreement", "share of posts whose label is the one that is read, or judged, most probable."),
    ("Emotionality", "one less the probability of the neutral label."),
    (
        "Asked",
        "the model’s own answer: by likelihood, the label whose name it would most probably go on "
        "with (less its habit where development posts say so); in its own words, the one label "
        "that a greedy answer names.",
    ),
    (
        "Erased",
        "LEACE of the labels, fitted on development posts, at every layer of the middle third; its "
        "control changes each state by as much in a direction turned at random.",
    ),
    (
        "Added",
        "an emotion’s direction at the same layers while a neutral post is replied to; its control "
        "is a random direction of the same length, another for each reply.",
    ),
    (
        "Given and taken",
        "what the emotional post’s state at the probe’s layer has beyond that of its scenario’s "
        "neutral post, along what class means differ in: added to the neutral one, or taken from "
        "the emotional one. The control is a random direction as long.",
    ),
    (
        "Words held constant",
        "partial correlation over all cells of posts and labels, logarithms less the means of "
        "posts and labels. Chance permutes the read-outs of a scenario’s posts; among posts of one "
        "label it permutes whole scenarios.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals by bootstrap over whole scenarios (and wordings of system prompts); p of "
        "differences by bootstrap, of correlations by permutation, of what system prompts shift by "
        "flipping the signs of scenarios, or of wordings, the larger of the two; q is p after "
        "Benjamini–Hochberg over all tests of the study.",
    ),
)
CORPUS = (
    (
        "Parts",
        "items are learned from, chosen on and reported on in three parts; a hash of the group’s "
        "name decides, so that a scenario’s texts are never parted.",
    ),
    (
        "Linear probe and MLP",
        "softmax regression on standardised features, and the same on a hidden layer of ReLUs; "
        "one of each a layer, trained in mini-batches.",
    ),
    (
        "AUROC",
        "chance that the probe gives an item of a class more of it than an item of another; of all "
        "classes, the mean.",
    ),
    ("Balanced accuracy", "the mean of the classes’ recalls: 1 over their number is chance."),
    (
        "Words alone",
        "the best text baseline on validation: logistic regressions on hashed counts of words or "
        "1–2-grams, at several penalties, and on the mean input embedding.",
    ),
    ("Above text", "the probe less words alone, paired on the same items and draws of groups."),
    (
        "Null and selectivity",
        "the same probe fitted on labels that were permuted across groups; and the probe less its "
        "null (Hewitt and Liang 2019). A probe that can learn anything is little evidence.",
    ),
    (
        "Intervals, p and q",
        "95 % intervals and p by bootstrap over whole groups; q is p after Benjamini–Hochberg over "
        "all differences of the run. Selectivity has no p: labels are permuted once.",
    ),
)
