//! The sentences of a text to quote.
//!
//! Sentences are vectors of TF-IDF weights. For a summary each is rated by its nearness to the centre of the
//! text, its place, and the words of the instructions that it, or its heading, takes up; picking is greedy:
//! what a sentence repeats counts against it (MMR), and a word of the instructions that was served counts less
//! for the next one. For a question the words of the question decide.

use std::collections::{BTreeSet, HashMap};

use super::sentences::Text;
use super::words;

/// The best sentence must carry this share of a question's words, weighted by their rarity.
const ANSWER_THRESHOLD: f32 = 0.45;
/// Others are added when they come this near to the best one.
const NEAR_BEST: f32 = 0.6;

/// The number of words of a question or of the instructions that are looked for, the rarest of them: every sentence of the text is searched
/// for each.
const MAX_TERMS: usize = 100;

pub(super) struct Index<'t> {
    text: &'t Text,
    ids: HashMap<String, usize>,
    /// By term: high when few sentences have it.
    idf: Vec<f32>,
    /// By sentence: weight by term, of length 1.
    vectors: Vec<Vec<(usize, f32)>>,
    /// By section: the terms of its heading.
    headings: Vec<BTreeSet<usize>>,
    /// By sentence: its number of words.
    lengths: Vec<usize>,
}

/// A word that quotations shall take up.
struct Facet {
    term: usize,
    weight: f32,
    served: f32,
}

impl<'t> Index<'t> {
    pub(super) fn build(text: &'t Text) -> Self {
        let mut ids = HashMap::new();
        let mut number = |term: String| {
            let next = ids.len();
            *ids.entry(term).or_insert(next)
        };
        let headings: Vec<BTreeSet<_>> = text
            .sections
            .iter()
            .map(|heading| words::terms(heading).map(&mut number).collect())
            .collect();
        let mut lengths = Vec::with_capacity(text.sentences.len());
        let mut counts = Vec::with_capacity(text.sentences.len());
        for sentence in &text.sentences {
            let mut terms: Vec<_> = words::terms(&sentence.text).map(&mut number).collect();
            lengths.push(words::count(&sentence.text) as usize);
            terms.sort_unstable();
            let runs = terms.chunk_by(|one, other| one == other);
            counts.push(
                runs.map(|run| (run[0], run.len() as f32))
                    .collect::<Vec<_>>(),
            );
        }

        let mut frequency = vec![0_f32; ids.len()];
        counts
            .iter()
            .flatten()
            .for_each(|(term, _)| frequency[*term] += 1.0);
        let total = counts.len() as f32;
        let idf: Vec<_> = frequency
            .iter()
            .map(|sentences| ((total + 1.0) / (sentences + 0.5)).ln().max(0.05))
            .collect();
        let vectors = counts
            .into_iter()
            .map(|counts| unit(counts, &idf))
            .collect();
        Self {
            text,
            ids,
            idf,
            vectors,
            headings,
            lengths,
        }
    }

    /// Up to `limit` sentences that stand for the text, in its order.
    pub(super) fn summary(&self, instructions: &str, limit: usize) -> Vec<usize> {
        let mut facets = self.facets(instructions);
        let base = self.standing();
        let mut candidates: Vec<_> = (0..base.len())
            .filter(|sentence| self.lengths[*sentence] >= 4)
            .collect();
        let mut likeness = vec![0_f32; base.len()];
        let mut chosen = Vec::new();
        while chosen.len() < limit {
            let score = |sentence: usize| {
                let gain: f32 = facets
                    .iter()
                    .map(|facet| {
                        facet.weight
                            * self.serves(sentence, facet.term)
                            * 0.3_f32.powf(facet.served)
                    })
                    .sum();
                base[sentence] + gain.min(1.5) - 0.9 * likeness[sentence]
            };
            let best = candidates
                .iter()
                .copied()
                .map(|sentence| (score(sentence), sentence))
                .max_by(by_score);
            let Some((_, best)) = best else { break };
            candidates.retain(|sentence| *sentence != best);
            chosen.push(best);
            for facet in &mut facets {
                facet.served += self.serves(best, facet.term);
            }
            self.raise_likeness(&mut likeness, best);
        }
        chosen.sort_unstable();
        chosen
    }

    /// Up to `limit` sentences that bear on the question, in the text's order; none when nothing does.
    pub(super) fn answer(&self, question: &str, limit: usize) -> Vec<usize> {
        let asked: BTreeSet<_> = words::terms(question).collect();
        // A word that the text does not have is as rare as can be.
        let rarest = ((self.vectors.len() as f32 + 1.0) / 0.5).ln();
        let asked: Vec<_> = asked
            .iter()
            .map(|term| self.ids.get(term).map(|id| (*id, self.idf[*id])))
            .collect();
        let asked = weightiest(asked, |term| term.map_or(rarest, |(_, idf)| idf));
        let total: f32 = asked
            .iter()
            .map(|term| term.map_or(rarest, |(_, idf)| idf))
            .sum();
        let wants_number = wants_number(question);
        let standing = self.standing();
        let mut scores: Vec<_> = (0..self.vectors.len())
            .map(|sentence| {
                let served = asked
                    .iter()
                    .flatten()
                    .map(|(term, idf)| idf * self.answers(sentence, *term))
                    .sum::<f32>();
                let share = if total > 0.0 { served / total } else { 0.0 };
                let bonus = if wants_number
                    && self.text.sentences[sentence]
                        .text
                        .bytes()
                        .any(|byte| byte.is_ascii_digit())
                {
                    1.15
                } else {
                    1.0
                };
                share * bonus
            })
            .collect();
        let best = scores.iter().copied().fold(0.0, f32::max);
        if best < ANSWER_THRESHOLD {
            return Vec::new();
        }
        let enough = ANSWER_THRESHOLD.max(best * NEAR_BEST);
        let mut likeness = vec![0_f32; scores.len()];
        let mut chosen = Vec::new();
        while chosen.len() < limit {
            let rated = scores
                .iter()
                .enumerate()
                .filter(|(_, score)| **score >= enough);
            // Of two that say as much, the one that stands better by itself.
            let rated = rated.map(|(sentence, score)| {
                (
                    score - 0.5 * likeness[sentence] + 0.1 * standing[sentence],
                    sentence,
                )
            });
            let Some((_, next)) = rated.max_by(by_score) else {
                break;
            };
            scores[next] = 0.0;
            chosen.push(next);
            self.raise_likeness(&mut likeness, next);
        }
        chosen.sort_unstable();
        chosen
    }

    /// The worth of each sentence by itself, from its nearness to the centre and its place.
    fn standing(&self) -> Vec<f32> {
        let mut centre = vec![0_f32; self.idf.len()];
        self.vectors
            .iter()
            .flatten()
            .for_each(|(term, weight)| centre[*term] += weight);
        let nearness: Vec<f32> = self
            .vectors
            .iter()
            .map(|vector| {
                vector
                    .iter()
                    .map(|(term, weight)| weight * centre[*term])
                    .sum()
            })
            .collect();
        let nearest = nearness.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let lead = (self.vectors.len() as f32 / 10.0).max(1.0);
        let sentences = self.text.sentences.iter().zip(nearness).enumerate();
        sentences
            .map(|(position, (sentence, nearness))| {
                let length = self.lengths[position];
                let mut worth = nearness / nearest;
                worth += 0.4 * (-(position as f32) / lead).exp();
                worth += 0.3 / (1.0 + sentence.place as f32);
                if words::refers_back(&sentence.text) {
                    worth -= 0.25;
                }
                if sentence.is_row || sentence.text.ends_with(':') {
                    worth -= 0.4;
                }
                if !sentence
                    .text
                    .ends_with(['.', '!', '?', '。', '"', '”', '*', ')'])
                {
                    worth -= 0.15;
                }
                if !(7..=45).contains(&length) {
                    worth -= 0.25;
                }
                worth
            })
            .collect()
    }

    fn facets(&self, instructions: &str) -> Vec<Facet> {
        let terms: BTreeSet<_> = words::request_terms(instructions)
            .filter_map(|term| self.ids.get(&term).copied())
            .collect();
        let rarest = self.idf.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        // What the title says is the subject of all: it does not tell one sentence from another.
        let weight = |term: usize| {
            let in_title = self
                .headings
                .first()
                .is_some_and(|title| title.contains(&term));
            if in_title {
                0.2 * self.idf[term] / rarest
            } else {
                self.idf[term] / rarest
            }
        };
        let facets = terms.into_iter().map(|term| Facet {
            term,
            weight: weight(term),
            served: 0.0,
        });
        weightiest(facets.collect(), |facet| facet.weight)
    }

    /// The degree to which a quotation takes up a word: by having it, or by standing under a heading that has it.
    fn serves(&self, sentence: usize, term: usize) -> f32 {
        let place = self.text.sentences[sentence].place as f32;
        let by_heading = if self.heading_has(sentence, term) {
            0.8 / (1.0 + 0.3 * place)
        } else {
            0.0
        };
        let by_itself = if self.has(sentence, term) { 0.7 } else { 0.0 };
        by_heading + by_itself
    }

    /// The degree to which a sentence answers with a word: fully by having it, partly from its heading or a neighbour.
    fn answers(&self, sentence: usize, term: usize) -> f32 {
        let beside = |other: usize| {
            self.has(other, term)
                && self.text.sentences[other].section == self.text.sentences[sentence].section
        };
        if self.has(sentence, term) {
            1.0
        } else if self.heading_has(sentence, term) {
            0.6 / (1.0 + 0.1 * self.text.sentences[sentence].place as f32)
        } else if sentence.checked_sub(1).is_some_and(beside)
            || (sentence + 1 < self.vectors.len() && beside(sentence + 1))
        {
            0.2
        } else {
            0.0
        }
    }

    fn has(&self, sentence: usize, term: usize) -> bool {
        self.vectors[sentence]
            .binary_search_by_key(&term, |(term, _)| *term)
            .is_ok()
    }

    fn heading_has(&self, sentence: usize, term: usize) -> bool {
        self.text.sentences[sentence]
            .section
            .is_some_and(|section| self.headings[section].contains(&term))
    }

    /// Notes how much every sentence is like one that was chosen.
    fn raise_likeness(&self, likeness: &mut [f32], chosen: usize) {
        let mut weights = vec![0_f32; self.idf.len()];
        self.vectors[chosen]
            .iter()
            .for_each(|(term, weight)| weights[*term] = *weight);
        for (likeness, vector) in likeness.iter_mut().zip(&self.vectors) {
            let cosine = vector
                .iter()
                .map(|(term, weight)| weight * weights[*term])
                .sum();
            *likeness = likeness.max(cosine);
        }
    }
}

/// All of them, or the [`MAX_TERMS`] that weigh most.
fn weightiest<T>(mut terms: Vec<T>, weight: impl Fn(&T) -> f32) -> Vec<T> {
    if terms.len() > MAX_TERMS {
        terms.sort_by(|one, other| weight(other).total_cmp(&weight(one)));
        terms.truncate(MAX_TERMS);
    }
    terms
}

/// Higher first, and of equals the earlier one.
fn by_score(one: &(f32, usize), other: &(f32, usize)) -> std::cmp::Ordering {
    one.0.total_cmp(&other.0).then(other.1.cmp(&one.1))
}

fn unit(counts: Vec<(usize, f32)>, idf: &[f32]) -> Vec<(usize, f32)> {
    let weighted: Vec<_> = counts
        .into_iter()
        .map(|(term, count)| (term, (1.0 + count.ln()) * idf[term]))
        .collect();
    let length = weighted
        .iter()
        .map(|(_, weight)| weight * weight)
        .sum::<f32>()
        .sqrt()
        .max(f32::MIN_POSITIVE);
    weighted
        .into_iter()
        .map(|(term, weight)| (term, weight / length))
        .collect()
}

fn wants_number(question: &str) -> bool {
    let question = question.to_lowercase();
    [
        "when ",
        "how many",
        "how much",
        "how long",
        "how often",
        "what time",
    ]
    .iter()
    .any(|asking| question.contains(asking))
}
