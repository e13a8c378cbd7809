//! Which scores of a row reach a floor: what a search asks of every score.

/// Scores looked at together.
const BLOCK: usize = 16;

/// Puts the positions of a row's scores that are not below `floor` into `hits`; returns how many. What is not a number is not
/// below anything. Only the first `N` scores are looked at.
pub fn reaching<const N: usize>(row: &[f32], floor: f32, hits: &mut [u32; N]) -> usize {
    let row = &row[..row.len().min(N)];
    // One comparison gives a bit for each score; compilers do not find that by themselves.
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(simd) => {
            return simd.vectorize(
                #[inline(always)]
                || {
                    let floors = simd.splat_f32x16(floor);
                    positions(row, floor, hits, |block| u32::from(simd.cmp_not_lt_f32x16(pulp::cast(*block), floors).0))
                },
            );
        }
        pulp::Arch::V3(simd) => {
            return simd.vectorize(
                #[inline(always)]
                || {
                    let floors = pulp::cast(simd.splat_f32x8(floor));
                    positions(row, floor, hits, |block| {
                        let halves: [[f32; 8]; 2] = pulp::cast(*block);
                        let [low, high] = halves.map(|half| {
                            let reach =
                                simd.avx._mm256_cmp_ps::<{ core::arch::x86_64::_CMP_NLT_UQ }>(pulp::cast(half), floors);
                            simd.avx._mm256_movemask_ps(reach) as u32
                        });
                        low | high << 8
                    })
                },
            );
        }
        _ => {}
    }
    positions(row, floor, hits, |block| {
        block.iter().enumerate().fold(0, |bits, (j, &s)| bits | u32::from(!below(s, floor)) << j)
    })
}

#[inline(always)]
fn below(s: f32, floor: f32) -> bool {
    s < floor
}

/// The positions that `bits_of` names in each block, and those of the rest.
#[inline(always)]
fn positions(row: &[f32], floor: f32, hits: &mut [u32], bits_of: impl Fn(&[f32; BLOCK]) -> u32) -> usize {
    let mut count = 0;
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    for (at, block) in blocks.iter().enumerate() {
        let mut bits = bits_of(block);
        while bits != 0 {
            hits[count] = at as u32 * BLOCK as u32 + bits.trailing_zeros();
            count += 1;
            bits &= bits - 1;
        }
    }
    for (j, &s) in rest.iter().enumerate() {
        if !below(s, floor) {
            hits[count] = (blocks.len() * BLOCK + j) as u32;
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::COLUMNS;

    #[test]
    fn positions_are_those_of_a_plain_loop() {
        let value = |i: usize| match i * 7919 % 23 {
            0 => f32::NAN,
            1 => f32::NEG_INFINITY,
            2 => f32::INFINITY,
            v => v as f32 - 11.0,
        };
        for len in [0, 1, 15, 16, 17, 40, 511, COLUMNS] {
            let row: Vec<f32> = (0..len).map(value).collect();
            for floor in [f32::NEG_INFINITY, -3.0, 0.0, 8.5, f32::INFINITY, f32::NAN] {
                let mut hits = [0; COLUMNS];
                let count = reaching(&row, floor, &mut hits);
                let plain: Vec<u32> = (0..len as u32).filter(|&j| !below(row[j as usize], floor)).collect();
                assert_eq!(hits[..count], plain, "{len} scores, floor {floor}");
            }
        }
    }
}
