//! Sparklines: a number of each bucket as a bar of eight heights.

const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 4] = ['.', ':', '+', '#'];

/// A bar for each of at most `width` columns, the highest of which is full; a space where there is nothing.
#[must_use]
pub fn spark(counts: &[u64], width: usize, is_ascii: bool) -> String {
    let each = counts.len().div_ceil(width.max(1)).max(1);
    let columns: Vec<u64> = counts.chunks(each).map(|counts| counts.iter().sum()).collect();
    let most = columns.iter().copied().max().unwrap_or(0);
    columns.iter().map(|count| bar(*count, most, is_ascii)).collect()
}

/// The bar of a count beside a highest count: the lowest for a single record, a space for none.
#[must_use]
pub fn bar(count: u64, most: u64, is_ascii: bool) -> char {
    let heights: &[char] = if is_ascii { &ASCII } else { &EIGHTHS };
    if count == 0 {
        return ' ';
    }
    let height = (u128::from(count) * heights.len() as u128).div_ceil(u128::from(most.max(1)));
    heights[usize::try_from(height).unwrap_or(1).clamp(1, heights.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_the_height_of_their_counts() {
        assert_eq!(spark(&[0, 1, 4, 8], 10, false), " ▁▄█");
        assert_eq!(spark(&[0, 1, 2, 3, 4], 10, true), " .:+#");
        assert_eq!(spark(&[1, 1, 2, 2, 4, 4], 3, false), "▂▄█");
        assert_eq!(spark(&[u64::MAX, 1], 2, false), "█▁");
        assert_eq!((spark(&[], 10, false), spark(&[0, 0], 10, false)), (String::new(), "  ".into()));
    }
}
