//! The list prices that are compiled in, in dollars per million tokens, as they stood on 2026-11-21.
//!
//! Claude: <https://platform.claude.com/docs/en/about-claude/pricing>. Writing into the cache is priced for one hour,
//! the dearer of the two, which Claude Code uses with a subscription. Haiku 5.5 has two bands; the dearer one is here.
//! GPT and Codex: <https://developers.openai.com/api/docs/pricing>, standard service up to 272,000 tokens of input; a
//! longer prompt costs twice as much, which this list does not know. The Claude CLI tells its own cost, which goes first.
//!
//! Estimates, because no published figure was found: what is marked so below. They err on the dear side.

use chrono::NaiveDate;

use super::{Rates, matches, weight};

/// The day from which a price holds; empty where it always did.
type Day = &'static str;

/// Pattern, first day, and the dollars for input, cached input, cache write and output.
const LIST: &[(&str, Day, [f64; 4])] = &[
    ("*fable-5-1*", "", [10.0, 0.25, 20.0, 50.0]),
    ("*mythos-5-1*", "", [10.0, 0.25, 20.0, 50.0]),
    ("*fable*", "", [10.0, 1.0, 20.0, 50.0]),
    ("*mythos*", "", [10.0, 1.0, 20.0, 50.0]),
    ("*opus-5-5*", "", [4.0, 0.2, 8.0, 20.0]),
    ("*opus*", "", [5.0, 0.5, 10.0, 25.0]),
    ("*opus-4*", "", [15.0, 1.5, 30.0, 75.0]),
    ("*opus-4-5*", "", [5.0, 0.5, 10.0, 25.0]),
    ("*opus-4-6*", "", [5.0, 0.5, 10.0, 25.0]),
    ("*opus-4-7*", "", [5.0, 0.5, 10.0, 25.0]),
    ("*opus-4-8*", "", [5.0, 0.5, 10.0, 25.0]),
    ("*3-opus*", "", [15.0, 1.5, 30.0, 75.0]),
    ("*opus-3*", "", [15.0, 1.5, 30.0, 75.0]),
    ("*sonnet*", "", [3.0, 0.3, 6.0, 15.0]),
    ("*sonnet-5*", "", [2.0, 0.2, 4.0, 10.0]),
    ("*sonnet-5-5*", "", [2.0, 0.2, 4.0, 10.0]),
    ("*sonnet-5-5*", "2026-10-07", [2.0, 0.1, 4.0, 10.0]),
    ("*haiku*", "", [1.0, 0.1, 2.0, 5.0]),
    ("*haiku-5-5*", "", [0.5, 0.05, 1.0, 2.5]),
    ("*gpt-6-1-sol*", "", [2.0, 0.1, 2.5, 10.0]), // cache write: estimate
    ("*gpt-6-1-terra*", "", [1.0, 0.05, 2.5, 5.0]),
    ("*gpt-6*", "", [10.0, 1.0, 12.5, 50.0]), // estimate: the dearest of its generation
    ("*gpt-6-astra*", "", [10.0, 1.0, 12.5, 50.0]), // cache write: estimate
    ("*gpt-6-sol*", "", [2.0, 0.2, 2.5, 10.0]),
    ("*gpt-6-luna*", "", [0.1, 0.01, 0.125, 0.5]),
    ("*gpt-5-6*", "", [5.0, 0.5, 6.25, 30.0]),     // estimate: as Sol
    ("*gpt-5-6-sol*", "", [5.0, 0.5, 6.25, 30.0]), // cache write: estimate, as of the two below
    ("*gpt-5-6-terra*", "", [2.5, 0.25, 3.125, 15.0]),
    ("*gpt-5-6-terra*", "2026-07-30", [2.0, 0.2, 2.5, 12.0]),
    ("*gpt-5-6-luna*", "", [1.0, 0.1, 1.25, 6.0]),
    ("*gpt-5-6-luna*", "2026-07-30", [0.2, 0.02, 0.25, 1.2]),
    ("*gpt-5-5*", "", [5.0, 0.5, 5.0, 30.0]),  // estimate
    ("*gpt-5-4*", "", [2.5, 0.25, 2.5, 15.0]), // output: estimate
    ("*gpt-5-3*", "", [1.75, 0.175, 1.75, 14.0]),
    ("*gpt-5-2*", "", [1.75, 0.175, 1.75, 14.0]),
    ("*gpt-5*", "", [1.25, 0.125, 1.25, 10.0]),
    ("*gpt-5-mini*", "", [0.25, 0.025, 0.25, 2.0]),
    ("*gpt-5*-pro*", "", [30.0, 30.0, 30.0, 180.0]), // estimate: the dearest of them
    ("*gemini*", "", [4.0, 0.4, 4.0, 18.0]),         // estimate: Pro beyond 200,000 tokens of input
];

/// What a model costs on a day; none where nothing here names it. The name is folded.
pub(super) fn of(model: &str, on: NaiveDate) -> Option<Rates> {
    let best =
        LIST.iter().filter(|(pattern, ..)| matches(pattern, model)).map(|(pattern, ..)| weight(pattern)).max()?;
    let prices = LIST.iter().filter(|(pattern, ..)| weight(pattern) == best && matches(pattern, model));
    let dated = prices.map(|(_, day, dollars)| (day.parse::<NaiveDate>().ok(), *dollars));
    let (_, dollars) = dated.filter(|(day, _)| day.is_none_or(|day| day <= on)).max_by_key(|(day, _)| *day)?;
    Some(Rates::dollars(dollars))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_can_be_reached_and_none_is_priced_below_its_cache() {
        for (pattern, day, [input, cached, write, output]) in LIST {
            assert!(day.is_empty() || day.parse::<NaiveDate>().is_ok(), "{pattern}: {day}");
            assert!(*cached <= *input && *input <= *write && *input < *output, "{pattern}");
            let name = pattern.replace('*', "");
            let on = day.parse().unwrap_or(NaiveDate::MIN);
            let found = of(&name, on).expect("a line of the list finds itself");
            assert_eq!(found, Rates::dollars([*input, *cached, *write, *output]), "{pattern} from {day}");
            let twice = LIST.iter().filter(|(other, from, _)| other == pattern && from == day).count();
            assert_eq!(twice, 1, "{pattern} from {day} stands there twice");
        }
    }
}
