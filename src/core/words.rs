//! Lists in the words of a reason.

/// How many items a reason names.
const NAMED: usize = 5;

/// The first few of a list, and how many more there are.
pub fn list(items: &[String]) -> String {
    let named = items.get(..NAMED).unwrap_or(items).join(", ");
    match items.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_says_how_much_of_it_is_left_out() {
        let items: Vec<String> = (1..=7).map(|number| number.to_string()).collect();
        for (count, words) in [(0, ""), (1, "1"), (5, "1, 2, 3, 4, 5"), (7, "1, 2, 3, 4, 5 and 2 more")] {
            assert_eq!(list(&items[..count]), words);
        }
    }
}
