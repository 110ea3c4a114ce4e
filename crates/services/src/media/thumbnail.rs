//! Makes pictures smaller. Everything here takes time on the processor, and is done under a limit, on a thread for such work.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use storage::ThumbnailKey;

use super::MediaError;

/// Sizes of scaled pictures, as the specification recommends them.
const SCALED: [(u32, u32); 3] = [(320, 240), (640, 480), (800, 600)];
/// Longer sides of cut pictures.
const CROPPED: [u32; 5] = [32, 96, 320, 640, 800];
/// What photographs are written with, of 100.
const JPEG_QUALITY: u8 = 80;
/// Most that is allocated for each pixel: four channels of 16 bits.
const MOST_BYTES_PER_PIXEL: u64 = 8;

/// A thumbnail that somebody asks for.
///
/// <https://spec.matrix.org/v1.19/client-server-api/#thumbnails>
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThumbnailRequest {
    /// In pixels, at least 1.
    pub width: u32,
    /// In pixels, at least 1.
    pub height: u32,
    /// Whether it is cut to the ratio of the two.
    pub is_cropped: bool,
    /// Whether it may move: then what moves is given as it is, however large.
    pub may_move: bool,
}

impl ThumbnailRequest {
    /// One of a few sizes that is as large at least, so that not each client has its own made. Where there is none, it is zero:
    /// the picture stays as large as it is.
    pub(super) fn size(self) -> ThumbnailKey {
        let Self { width, height, is_cropped, .. } = self;
        let (width, height) = if is_cropped {
            let (long, short) = (width.max(height), width.min(height));
            let side = CROPPED.into_iter().find(|side| *side >= long).unwrap_or(0);
            let other = u64::from(side) * u64::from(short);
            let other = u32::try_from(other.div_ceil(u64::from(long.max(1)))).unwrap_or(side);
            if width >= height { (side, other) } else { (other, side) }
        } else {
            SCALED.into_iter().find(|size| size.0 >= width && size.1 >= height).unwrap_or((0, 0))
        };
        ThumbnailKey { width, height, is_cropped }
    }
}

/// What answers a request for a thumbnail.
#[derive(Debug)]
pub(super) enum Picture {
    /// The media as it is: it is no larger.
    AsItIs,
    /// A new picture.
    Made { bytes: Vec<u8>, content_type: &'static str },
}

/// Makes the picture in a file as small as `size`, unless it is already. If it moves, its first picture is taken.
pub(super) fn make(path: &Path, size: ThumbnailKey, most_pixels: u64) -> Result<Picture, MediaError> {
    let moves = moves(path)?;
    let mut reader = ImageReader::new(BufReader::new(File::open(path)?)).with_guessed_format()?;
    let format = reader.format().filter(|format| is_read(*format)).ok_or(MediaError::NotAPicture)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(most_pixels.saturating_mul(MOST_BYTES_PER_PIXEL));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > most_pixels {
        return Err(MediaError::PictureTooLarge { most_pixels, is_remote: false });
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let is_small = |(width, height)| size.width == 0 || (width <= size.width && height <= size.height);
    let turned = if is_upright(orientation) { (width, height) } else { (height, width) };
    if is_small(turned) && !moves {
        return Ok(Picture::AsItIs);
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    picture.apply_orientation(orientation);
    let picture = fitted(picture, size);
    // Drawings and writing stay as sharp as they were.
    let is_exact = matches!(format, ImageFormat::Png | ImageFormat::Gif) || picture.color().has_alpha();
    if is_exact { write_png(&picture) } else { write_jpeg(&picture) }
}

fn is_read(format: ImageFormat) -> bool {
    matches!(format, ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::Gif | ImageFormat::WebP)
}

/// Whether the file may hold several pictures.
pub(super) fn moves(path: &Path) -> Result<bool, MediaError> {
    let open = || File::open(path).map(BufReader::new);
    let format = ImageReader::new(open()?).with_guessed_format()?.format();
    Ok(match format {
        Some(ImageFormat::Gif) => true,
        Some(ImageFormat::Png) => png_moves(open()?).map_err(unreadable)?,
        Some(ImageFormat::WebP) => WebPDecoder::new(open()?).map_err(unreadable)?.has_animation(),
        _ => false,
    })
}

fn png_moves(file: impl BufRead + Seek) -> image::ImageResult<bool> {
    PngDecoder::new(file)?.is_apng()
}

fn is_upright(orientation: image::metadata::Orientation) -> bool {
    use image::metadata::Orientation::{FlipHorizontal, FlipVertical, NoTransforms, Rotate180};
    matches!(orientation, NoTransforms | Rotate180 | FlipHorizontal | FlipVertical)
}

fn unreadable(error: image::ImageError) -> MediaError {
    match error {
        image::ImageError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => error.into(),
        error => {
            tracing::debug!(%error, "no thumbnail can be made");
            MediaError::NotAPicture
        }
    }
}

/// Never larger than before.
fn fitted(picture: DynamicImage, size: ThumbnailKey) -> DynamicImage {
    let ThumbnailKey { width, height, is_cropped } = size;
    if width == 0 {
        return picture;
    }
    let picture = if is_cropped { cut(&picture, width, height) } else { picture };
    if picture.width() <= width && picture.height() <= height {
        return picture;
    }
    picture.thumbnail(width, height)
}

/// The largest part in the middle that has the ratio of `width` to `height`.
fn cut(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (has_width, has_height) = (u64::from(picture.width()), u64::from(picture.height()));
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (cut_width, cut_height) = if has_width * height > has_height * width {
        ((has_height * width).div_ceil(height), has_height)
    } else {
        (has_width, (has_width * height).div_ceil(width))
    };
    let (cut_width, cut_height) = (cut_width.min(has_width), cut_height.min(has_height));
    let small = |pixels: u64| u32::try_from(pixels).unwrap_or(u32::MAX);
    let (left, top) = ((has_width - cut_width) / 2, (has_height - cut_height) / 2);
    picture.crop_imm(small(left), small(top), small(cut_width), small(cut_height))
}

fn write_png(picture: &DynamicImage) -> Result<Picture, MediaError> {
    let mut bytes = Cursor::new(Vec::new());
    let written = match picture.color().has_alpha() {
        true => picture.to_rgba8().write_to(&mut bytes, ImageFormat::Png),
        false => picture.to_rgb8().write_to(&mut bytes, ImageFormat::Png),
    };
    written.map_err(unreadable)?;
    Ok(Picture::Made { bytes: bytes.into_inner(), content_type: "image/png" })
}

fn write_jpeg(picture: &DynamicImage) -> Result<Picture, MediaError> {
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    picture.to_rgb8().write_with_encoder(encoder).map_err(unreadable)?;
    Ok(Picture::Made { bytes, content_type: "image/jpeg" })
}

#[cfg(test)]
mod tests {
    use image::{GenericImageView as _, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    const MOST: u64 = 1 << 20;

    fn request(width: u32, height: u32, is_cropped: bool) -> ThumbnailRequest {
        ThumbnailRequest { width, height, is_cropped, may_move: false }
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Red on the left, blue on the right.
    fn halves(width: u32, height: u32) -> DynamicImage {
        let colour = |x, _| if x < width / 2 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) };
        RgbImage::from_fn(width, height, colour).into()
    }

    fn made(bytes: &[u8], request: ThumbnailRequest) -> Option<(DynamicImage, &'static str)> {
        match make(file(bytes).path(), request.size(), MOST).unwrap() {
            Picture::AsItIs => None,
            Picture::Made { bytes, content_type } => Some((image::load_from_memory(&bytes).unwrap(), content_type)),
        }
    }

    #[test]
    fn a_size_is_one_of_a_few_that_is_large_enough() {
        for (asked, made) in [
            (request(1, 1, false), (320, 240)),
            (request(320, 240, false), (320, 240)),
            (request(10, 241, false), (640, 480)),
            (request(800, 600, false), (800, 600)),
            (request(801, 1, false), (0, 0)),
            (request(32, 32, true), (32, 32)),
            (request(33, 33, true), (96, 96)),
            (request(64, 32, true), (96, 48)),
            (request(30, 90, true), (32, 96)),
            (request(400, 300, true), (640, 480)),
            (request(u32::MAX, 1, true), (0, 0)),
            (request(1, 800, true), (1, 800)),
        ] {
            let size = asked.size();
            assert_eq!((size.width, size.height), made, "{asked:?}");
        }
    }

    #[test]
    fn a_picture_is_scaled_to_fit_and_cut_to_the_ratio() {
        for (format, expected) in
            [(ImageFormat::Png, "image/png"), (ImageFormat::Jpeg, "image/jpeg"), (ImageFormat::WebP, "image/jpeg")]
        {
            let large = written(&halves(1000, 500), format);
            let (scaled, content_type) = made(&large, request(320, 240, false)).unwrap();
            assert_eq!((scaled.dimensions(), content_type), ((320, 160), expected));
        }
        let large = written(&halves(1000, 500), ImageFormat::Png);
        let (cut, _) = made(&large, request(96, 96, true)).unwrap();
        assert_eq!(cut.dimensions(), (96, 96));
        let (left, right) = (cut.get_pixel(2, 50), cut.get_pixel(93, 50));
        assert!(left[0] > 200 && left[2] < 50 && right[2] > 200 && right[0] < 50, "{left:?} {right:?}");
        let narrow = written(&halves(40, 1000), ImageFormat::Png);
        let (cut, _) = made(&narrow, request(96, 96, true)).unwrap();
        assert_eq!(cut.dimensions(), (40, 40));
    }

    #[test]
    fn nothing_is_made_larger() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let small = written(&halves(30, 20), format);
            assert!(made(&small, request(32, 32, true)).is_none());
            assert!(made(&small, request(320, 240, false)).is_none());
        }
        // More than any size that is made.
        let large = written(&halves(1000, 500), ImageFormat::Png);
        assert!(made(&large, request(900, 600, false)).is_none());
    }

    #[test]
    fn transparent_places_stay_transparent() {
        let picture = RgbaImage::from_pixel(500, 500, Rgba([10, 20, 30, 0]));
        let (small, content_type) = made(&written(&picture.into(), ImageFormat::WebP), request(96, 96, true)).unwrap();
        assert_eq!((content_type, small.get_pixel(50, 50)[3]), ("image/png", 0));
    }

    #[test]
    fn what_moves_stands_still() {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
        for _ in 0..2 {
            encoder.encode_frame(image::Frame::new(halves(20, 20).to_rgba8())).unwrap();
        }
        drop(encoder);
        let (still, _) = made(&bytes, request(32, 32, true)).unwrap();
        assert_eq!(still.dimensions(), (20, 20));
        assert!(moves(file(&bytes).path()).unwrap());
        assert!(!moves(file(&written(&halves(20, 20), ImageFormat::Png)).path()).unwrap());
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused() {
        let whole = written(&halves(1000, 500), ImageFormat::Png);
        let half = &whole[..whole.len() / 2];
        for bytes in [&b""[..], b"<svg/>", b"\x89PNG\r\n\x1a\n", b"GIF89a", &[0xff, 0xd8, 0xff], half] {
            let error = make(file(bytes).path(), request(96, 96, true).size(), MOST).unwrap_err();
            assert!(matches!(error, MediaError::NotAPicture), "{error:?} of {bytes:?}");
        }
        let error = make(file(&whole).path(), request(96, 96, true).size(), 499_999).unwrap_err();
        assert!(matches!(error, MediaError::PictureTooLarge { .. }), "{error:?}");
    }
}
