//! Images in a frame of what lies outside, read between their pixels line by line: no pixel has to be asked where it is.

use crate::Image;

/// How wide the frame is: a place outside lies between two pixels of it.
const FRAME: usize = 2;

/// `N` channels of an image as numbers, with their frame.
pub(super) struct Framed<const N: usize> {
    /// Pixels of a line, with those of the frame.
    pitch: usize,
    pixels: Vec<[f32; N]>,
}

impl<const N: usize> Framed<N> {
    /// The channels of `image` from `first` on; where it has fewer, the others mean nothing. The frame is of `fill`, or of the
    /// nearest border pixels.
    pub(super) fn new(image: &Image, first: usize, fill: Option<u8>) -> Self {
        let (width, height, channels) = (image.width, image.height, image.channels);
        let pitch = width + 2 * FRAME;
        let mut pixels = vec![[f32::from(fill.unwrap_or(0)); N]; pitch * (height + 2 * FRAME)];
        let inside = pixels[FRAME * pitch..].chunks_exact_mut(pitch);
        for (line, row) in inside.zip(image.pixels.chunks_exact(width * channels)) {
            for (values, pixel) in line[FRAME..][..width].iter_mut().zip(row.chunks_exact(channels)) {
                values.iter_mut().zip(&pixel[first..]).for_each(|(value, &byte)| *value = f32::from(byte));
            }
            if fill.is_none() {
                let (first, last) = (line[FRAME], line[FRAME + width - 1]);
                line[..FRAME].fill(first);
                line[FRAME + width..].fill(last);
            }
        }
        if fill.is_none() {
            let (first, last) = (FRAME * pitch, (FRAME + height - 1) * pitch);
            for i in 0..FRAME {
                pixels.copy_within(first..first + pitch, i * pitch);
                pixels.copy_within(last..last + pitch, last + (i + 1) * pitch);
            }
        }
        Self { pitch, pixels }
    }

    /// The values at `places`, by bilinear interpolation.
    pub(super) fn read(&self, places: &Places, values: &mut [[f32; N]]) {
        let [columns, rows] = places.0.each_ref().map(|axis| axis.before.iter().zip(&axis.beyond));
        for (values, ((&left, &fx), (&top, &fy))) in values.iter_mut().zip(columns.zip(rows)) {
            let pair = |line: usize| {
                let at = line * self.pitch + left as usize;
                [self.pixels[at], self.pixels[at + 1]]
            };
            let (above, below) = (pair(top as usize), pair(top as usize + 1));
            // Of all channels in one loop: it becomes operations of vectors.
            for (c, value) in values.iter_mut().enumerate() {
                let upper = above[0][c] * (1.0 - fx) + above[1][c] * fx;
                let lower = below[0][c] * (1.0 - fx) + below[1][c] * fx;
                *value = upper * (1.0 - fy) + lower * fy;
            }
        }
    }
}

/// Where the pixels of a line are read: along x, then along y.
pub(super) struct Places([Axis; 2]);

/// One coordinate of each place.
struct Axis {
    at: Vec<f32>,
    /// The pixel before it, counted from the frame.
    before: Vec<u32>,
    /// How far behind that it is.
    beyond: Vec<f32>,
}

impl Places {
    /// Room for a line of so many.
    pub(super) fn of_line(length: usize) -> Self {
        Self([(); 2].map(|()| Axis { at: vec![0.0; length], before: vec![0; length], beyond: vec![0.0; length] }))
    }

    /// Takes the places that `place` says, for images of `width` × `height`.
    pub(super) fn set(&mut self, [width, height]: [usize; 2], place: impl Fn(usize) -> [f32; 2]) {
        let [xs, ys] = &mut self.0;
        for (i, (x, y)) in xs.at.iter_mut().zip(&mut ys.at).enumerate() {
            [*x, *y] = place(i);
        }
        xs.find(width);
        ys.find(height);
    }
}

impl Axis {
    /// Says of all coordinates between which of `length` pixels, and of those of the frame, they lie.
    fn find(&mut self, length: usize) {
        /// From here on numbers have no fraction, and there is only the frame.
        const FAR: f32 = (1 << 24) as f32;
        for ((&at, before), beyond) in self.at.iter().zip(&mut self.before).zip(&mut self.beyond) {
            #[expect(clippy::manual_clamp, reason = "of a NaN this makes a number")]
            let at = at.max(-FAR).min(FAR);
            // SAFETY: it is within ± FAR, and no NaN.
            let cut: i32 = unsafe { at.to_int_unchecked() };
            // `floor` is a call on processors of old.
            let floor = cut - i32::from(cut as f32 > at);
            *beyond = at - floor as f32;
            *before = (floor + FRAME as i32).clamp(0, (length + FRAME) as i32) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bilinear interpolation of four neighbours, each of them asked whether it is inside.
    fn told(image: &Image, channel: usize, [x, y]: [f32; 2], fill: Option<u8>) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let value = |y: f32, x: f32| {
            let (at_x, at_y) = (x.clamp(0.0, image.width as f32 - 1.0), y.clamp(0.0, image.height as f32 - 1.0));
            let inside = image.pixels[(at_y as usize * image.width + at_x as usize) * image.channels + channel];
            f32::from(fill.filter(|_| (at_x, at_y) != (x, y)).unwrap_or(inside))
        };
        let line = |y: f32| value(y, left) * (1.0 - fx) + value(y, left + 1.0) * fx;
        line(top) * (1.0 - fy) + line(top + 1.0) * fy
    }

    /// A shift of a 256th of a pixel crosses from inside to the border.
    const XS: [f32; 14] = [-3e9, -1.5, -1.0, -0.3, 0.0, 0.75, 2.0, 3.5, 3.996_093_8, 4.0, 4.2, 5.0, 7.9, 1e30];
    const YS: [f32; 12] = [f32::MIN, -2.0, -0.7, 0.0, 0.25, 1.0, 2.5, 2.996_093_8, 3.0, 3.6, 4.0, 17_000_001.0];

    fn check<const N: usize>(image: &Image, first: usize, fill: Option<u8>) {
        let framed = Framed::<N>::new(image, first, fill);
        let mut places = Places::of_line(XS.len());
        for y in YS {
            places.set([image.width, image.height], |i| [XS[i], y]);
            let mut values = [[0.0; N]; XS.len()];
            framed.read(&places, &mut values);
            for (x, values) in XS.into_iter().zip(values) {
                for channel in first..image.channels.min(first + N) {
                    let told = told(image, channel, [x, y], fill);
                    assert_eq!(values[channel - first], told, "channel {channel} at {x}, {y} in {fill:?}");
                }
            }
        }
    }

    #[test]
    fn pixels_inside_at_the_border_and_far_outside_are_read_alike() {
        for fill in [None, Some(0), Some(200)] {
            let image = |channels: usize| {
                let pixels: Vec<u8> = (0..20 * channels).map(|i| (i * 37 % 251) as u8).collect();
                Image::new(5, 4, channels, pixels).unwrap()
            };
            check::<1>(&image(1), 0, fill);
            check::<4>(&image(3), 0, fill);
            check::<4>(&image(6), 4, fill);
        }
    }

    #[test]
    fn a_place_that_is_no_number_is_outside() {
        let image = Image::new(2, 1, 1, vec![10, 20]).unwrap();
        let (framed, mut places, mut values) = (Framed::<1>::new(&image, 0, Some(99)), Places::of_line(2), [[0.0]; 2]);
        places.set([2, 1], |i| [[f32::NAN, f32::INFINITY][i], 0.0]);
        framed.read(&places, &mut values);
        assert_eq!(values, [[99.0]; 2]);
    }
}
