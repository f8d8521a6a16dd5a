//! Selected rows of ragged matrices.

use super::*;
use crate::testing::{values, with_teams};

#[test]
fn first_and_last_rows_are_copied_and_empty_sequences_give_zeros() {
    let (cols, stride) = (5, 7);
    let data = values(6 * stride, 1);
    let x = MatRef::new(&data, 6, cols, stride).unwrap();
    // The base of the lengths shifts nothing.
    for base in [0, 1000] {
        let cu: Vec<u32> = [0, 2, 2, 3, 6].iter().map(|end| end + base).collect();
        for (select, rows) in
            [(Select::First, [Some(0), None, Some(2), Some(3)]), (Select::Last, [Some(1), None, Some(2), Some(5)])]
        {
            let mut out = vec![f32::NAN; 4 * cols];
            select_rows(Exec::Serial, select, x, &cu, MatMut::new(&mut out, 4, cols, cols).unwrap()).unwrap();
            for (found, row) in out.chunks(cols).zip(rows) {
                let expected = row.map_or(vec![0.0; cols], |row| x.row(row).to_vec());
                assert_eq!(found, expected, "{select:?}");
            }
        }
    }
}

#[test]
fn threads_select_the_same() {
    let data = values(1000 * 9, 2);
    let x = MatRef::new(&data, 1000, 9, 9).unwrap();
    let cu: Vec<u32> = (0..=500).map(|i| i * 2).collect();
    let run = |exec: Exec<'_>| {
        let mut out = vec![f32::NAN; 500 * 9];
        select_rows(exec, Select::Last, x, &cu, MatMut::new(&mut out, 500, 9, 9).unwrap()).unwrap();
        out
    };
    with_teams(|team| assert_eq!(run(Exec::Serial), run(team)));
}

#[test]
fn shapes_and_lengths_that_disagree_are_refused() {
    let data = [0.0; 12];
    let x = MatRef::new(&data, 4, 3, 3).unwrap();
    let mut out = [0.0; 12];
    let mut run = |cu: &[u32], rows: usize, cols: usize| {
        select_rows(Exec::Serial, Select::First, x, cu, MatMut::new(&mut out, rows, cols, cols).unwrap())
    };
    assert!(run(&[0, 1, 4], 2, 3).is_ok());
    assert!(run(&[0, 1, 4], 1, 3).is_err());
    assert!(run(&[0, 1, 4], 2, 2).is_err());
    assert!(run(&[0, 1, 3], 2, 3).is_err());
    assert!(run(&[0, 5, 4], 2, 3).is_err());
    assert!(run(&[], 0, 3).is_err());
}
