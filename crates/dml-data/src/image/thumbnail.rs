//! Images small enough for a page.

use super::{Filter, resize::resample};
use crate::{Error, Image, Result};
use std::io::Cursor;

impl Image {
    /// A PNG file of the image, scaled down to `side` pixels where it is longer.
    ///
    /// # Errors
    /// When the image has a side of 0 or neither 1 nor 3 channels.
    pub fn thumbnail(&self, side: usize) -> Result<Vec<u8>> {
        let longest = self.width.max(self.height);
        let small = if longest > side {
            let scaled = |length: usize| (length * side).div_ceil(longest).max(1);
            &resample(self, [scaled(self.height), scaled(self.width)], Filter::Bilinear)?
        } else {
            self
        };
        let color = match small.channels {
            1 => image::ExtendedColorType::L8,
            3 => image::ExtendedColorType::Rgb8,
            other => return Err(Error::Invalid(format!("an image of {other} channels has no PNG: give 1 or 3"))),
        };
        let mut png = Cursor::new(Vec::new());
        let (width, height) = (small.width as u32, small.height as u32);
        image::write_buffer_with_format(&mut png, &small.pixels, width, height, color, image::ImageFormat::Png)
            .map_err(|e| Error::Invalid(format!("an image of {width}x{height} has no PNG ({e})")))?;
        Ok(png.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use crate::Image;

    #[test]
    fn a_thumbnail_is_the_image_or_smaller() {
        let image = Image::new(4, 2, 3, (0..24).collect()).unwrap();
        let back = image::load_from_memory(&image.thumbnail(4).unwrap()).unwrap().into_rgb8();
        assert_eq!(back.as_raw(), &image.pixels);
        let grey = Image::new(300, 100, 1, vec![7; 30_000]).unwrap();
        let back = image::load_from_memory(&grey.thumbnail(96).unwrap()).unwrap().into_luma8();
        assert_eq!((back.dimensions(), back.as_raw()[0]), ((96, 32), 7));
        assert!(Image { channels: 2, ..image }.thumbnail(4).is_err());
    }
}
