//! Writes a report of made-up numbers, to look at the page: `cargo run -p dml-eval --example report_demo -- FOLDER`.

use std::f64::consts::TAU;
use std::path::PathBuf;

use dml_eval::report::{
    Axis, ClassTable, Confusions, Curves, Gallery, GalleryRow, Histogram, Mark, MetricRow, MetricTable, PlaneMap,
    Point, Projection, Report, Scale, Section, Series, Text, Tile,
};

/// Numbers in [0, 1) that look random; the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.next()).ln()).sqrt() * (TAU * self.next()).cos()
    }
}

fn main() -> dml_eval::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("report-demo"), PathBuf::from);
    let mut noise = Noise(7);
    let count =
        |argument: usize, default| std::env::args().nth(argument).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (classes, points) = (count(2, 400), count(3, 6000));
    demo(&mut noise, classes, points).write(&folder)
}

fn demo(noise: &mut Noise, classes: usize, points: usize) -> Report {
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let names: Vec<String> = (0..classes).map(name).collect();
    let sections = vec![
        Section::Metrics(retrieval()),
        Section::Curves(roc("ROC", Scale::Log, 1e-4, "True accept rate")),
        Section::Curves(roc("Detection error trade-off", Scale::Probit, 1e-3, "False reject rate")),
        Section::Histogram(scores(noise)),
        Section::Gallery(gallery()),
        Section::Projection(projection(noise, names.clone(), points)),
        Section::Confusions(confusions(noise, &names)),
        Section::Classes(class_table(noise, &names)),
        Section::Text(Text {
            title: "How to read this".to_owned(),
            paragraphs: vec![
                "Intervals are 95 % bootstrap intervals over queries. A query without any other item of its class is \
                 left out and counted in the note."
                    .to_owned(),
                "Scores are cosine similarities; a higher score is closer.".to_owned(),
            ],
        }),
    ];
    Report {
        title: "Evaluation of resnet18-mined on birds".to_owned(),
        facts: vec![
            pair("Embeddings", "6 000 × 128, float32"),
            pair("Classes", "400, none seen in training"),
            pair("Metric", "cosine"),
            pair("Protocol", "every item a query, itself excluded"),
            pair("Seed", "42"),
            pair("Checkpoint", "step 24 000, 3f9a1c"),
        ],
        warnings: vec![
            "12 classes have a single item: their queries have nothing to find and are not counted.".to_owned(),
        ],
        sections,
    }
}

fn name(i: usize) -> String {
    const NAMES: [&str; 9] = [
        "Black-footed Albatross",
        "Laysan Albatross",
        "طائر القطرس الأسود القدمين",
        "Crested <Auklet> & Co",
        "A name somebody typed without ever stopping to think of the width of the table it would stand in one day",
        "Rhinoceros Auklet",
        "Brewer Blackbird",
        "Red-winged Blackbird",
        "Bobolink",
    ];
    NAMES.get(i).map_or_else(|| format!("Bird {i:03}"), |n| (*n).to_owned())
}

fn retrieval() -> MetricTable {
    let row = |name: &str, value: f64, half: f64, definition: &str| MetricRow {
        name: name.to_owned(),
        value,
        low: (half > 0.0).then_some(value - half),
        high: (half > 0.0).then_some(value + half),
        percent: true,
        definition: definition.to_owned(),
        n: value.is_finite().then_some(5988),
    };
    let rows = vec![
        row("Recall@1", 0.7312, 0.0112, "Share of queries whose nearest neighbour has their class."),
        row("Recall@8", 0.9127, 0.0071, "Share of queries with at least one of their class among 8 neighbours."),
        row("MAP@R", 0.4466, 0.0093, "Mean over queries of average precision cut at R, R the class size less one."),
        row("R-precision", 0.5218, 0.0, "Share of right ones among the R nearest neighbours."),
        row("One-shot accuracy", f64::NAN, 0.0, "Not measured: no trials were given."),
        MetricRow {
            name: "Mean rank of first hit".to_owned(),
            value: 4.318,
            low: Some(3.9),
            high: Some(4.7),
            definition: "Mean over queries of the rank of the nearest right neighbour.".to_owned(),
            n: Some(5988),
            ..MetricRow::default()
        },
    ];
    let note = "12 queries without another item of their class are left out.".to_owned();
    MetricTable { title: "Retrieval".to_owned(), rows, note }
}

fn roc(title: &str, scale: Scale, least: f64, y: &str) -> Curves {
    let det = scale == Scale::Probit;
    let curve = |name: &str, power: f64| {
        let points = (0..=2000).map(|i| {
            let x = 1e-5f64.powf(1.0 - f64::from(i) / 2000.0);
            (x, if det { 1.0 - x.powf(power) } else { x.powf(power) })
        });
        Series { name: name.to_owned(), points: points.collect(), faint: false }
    };
    let axis = |label: &str, scale, min, max| Axis { label: label.to_owned(), scale, min, max };
    let top = if det { 0.6 } else { 1.0 };
    Curves {
        title: title.to_owned(),
        x: axis("False accept rate", scale, least, top),
        y: if det { axis(y, scale, least, top) } else { axis(y, Scale::Linear, 0.0, 1.0) },
        series: vec![curve("this model", 0.06), curve("baseline", 0.12), curve("pixels", 0.35)],
        marks: vec![Mark { label: "EER 12.4 %".to_owned(), x: 0.124, y: if det { 0.118 } else { 0.882 } }],
        note: "18.0 million pairs, of which 42 000 match.".to_owned(),
    }
}

fn scores(noise: &mut Noise) -> Histogram {
    let edges: Vec<f64> = (0..=60).map(|i| f64::from(i) / 40.0 - 0.5).collect();
    let mut bell = |mean: f64, width: f64| {
        let at = |e: &[f64]| (-(((e[0] + e[1]) / 2.0 - mean) / width).powi(2) / 2.0).exp() / width * 0.4;
        edges.windows(2).map(|e| at(e) * (0.93 + 0.14 * noise.next())).collect::<Vec<_>>()
    };
    let series = vec![("same class".to_owned(), bell(0.62, 0.16)), ("other class".to_owned(), bell(0.08, 0.13))];
    Histogram {
        title: "Scores of pairs".to_owned(),
        x_label: "Cosine similarity".to_owned(),
        edges,
        series,
        lines: vec![("EER threshold 0.34".to_owned(), 0.34), ("FAR 0.1 % at 0.52".to_owned(), 0.52)],
        note: String::new(),
    }
}

fn gallery() -> Gallery {
    let tile = |class: usize, item: usize| Tile {
        label: name(class),
        id: format!("{class:03}/{item:04}.png"),
        picture: (item % 7 != 6).then(|| picture(class, item)),
    };
    let row = |group: &str, class: usize, verdicts: [bool; 9]| GalleryRow {
        group: group.to_owned(),
        query: tile(class, class * 3 + 1),
        neighbours: (verdicts.iter().enumerate())
            .map(|(i, &right)| {
                (tile(if right { class } else { class + i + 1 }, class + i), right, 0.93 - 0.041 * i as f32)
            })
            .collect(),
    };
    let f = false;
    let rows = vec![
        row("best", 0, [true; 9]),
        row("worst", 4, [f, f, f, true, f, f, f, f, f]),
        row("worst", 2, [f, f, true, f, f, true, f, f, f]),
        row("random", 5, [true, true, f, true, true, f, true, f, true]),
    ];
    Gallery { title: "Queries and what they found".to_owned(), rows }
}

fn projection(noise: &mut Noise, classes: Vec<String>, n: usize) -> Projection {
    let shown = 40.min(classes.len()).max(1);
    let mut centres = Vec::new();
    for _ in 0..shown {
        centres.push((noise.normal() * 4.0, noise.normal() * 4.0));
    }
    let mut map = |name: &str, spread: f64| {
        let places = (0..n).map(|i| {
            let (x, y) = centres[i % shown];
            [x, y].map(|centre| (centre + noise.normal() * spread) as f32)
        });
        PlaneMap { name: name.to_owned(), method: format!("made up, spread {spread}"), places: places.collect() }
    };
    let maps = vec![map("PCA", 1.5), map("t-SNE", 0.4)];
    let points = (0..n).map(|i| Point { class: (i % shown) as u32, id: format!("item {i:05}") }).collect();
    Projection { title: "Embeddings in the plane".to_owned(), points, maps, classes, note: "All rows.".to_owned() }
}

fn confusions(noise: &mut Noise, names: &[String]) -> Confusions {
    let few = 10.min(names.len());
    let mut cell = |i: usize, j: usize| {
        if i == j { 20 + (noise.next() * 60.0) as usize } else { (noise.next().powi(6) * 40.0) as usize }
    };
    let counts: Vec<Vec<usize>> = (0..few).map(|i| (0..few).map(|j| cell(i, j)).collect()).collect();
    let mut pairs = Vec::new();
    for (i, row) in counts.iter().enumerate() {
        let all: usize = row.iter().sum();
        let wrong = row.iter().enumerate().filter(|(j, n)| *j != i && **n > 3);
        pairs.extend(wrong.map(|(j, &n)| (names[i].clone(), names[j].clone(), n, n as f64 / all as f64)));
    }
    pairs.sort_by_key(|p| std::cmp::Reverse(p.2));
    pairs.truncate(8);
    Confusions { title: "Most taken for another".to_owned(), pairs, matrix: Some((names[..few].to_vec(), counts)) }
}

fn class_table(noise: &mut Noise, names: &[String]) -> ClassTable {
    let mut row = |(i, name): (usize, &String)| {
        let recall = i as f64 / names.len() as f64;
        let numbers = vec![recall, recall * (0.4 + 0.4 * noise.next()), (5.0 + noise.next() * 50.0).floor(), f64::NAN];
        (name.clone(), numbers)
    };
    let rows = names.iter().enumerate().map(&mut row).collect();
    let columns = ["Recall@1", "MAP@R", "Items", "Spread"].map(str::to_owned).to_vec();
    ClassTable { title: "Classes, worst first".to_owned(), columns, rows }
}

/// A small PNG: rings in a colour of the class. Stored without compression, which needs no library.
fn picture(class: usize, item: usize) -> Vec<u8> {
    const SIDE: usize = 48;
    let mut rows = Vec::new();
    for y in 0..SIDE {
        rows.push(0);
        for x in 0..SIDE {
            let from = (x as f64 - 24.0 - (item % 5) as f64 * 2.0).hypot(y as f64 - 24.0);
            let light = 150.0 + 70.0 * (from * (0.2 + 0.05 * (class % 4) as f64)).sin();
            let tint = |phase: f64| light * (0.75 + 0.25 * (class as f64 * 1.7 + phase).sin());
            rows.extend([tint(0.0) as u8, tint(2.0) as u8, tint(4.0) as u8]);
        }
    }
    let adler =
        rows.iter().fold((1u32, 0u32), |(a, b), v| ((a + u32::from(*v)) % 65521, (b + a + u32::from(*v)) % 65521));
    let length = rows.len() as u16;
    let mut zlib = vec![0x78, 0x01, 1];
    zlib.extend(length.to_le_bytes());
    zlib.extend((!length).to_le_bytes());
    zlib.extend(&rows);
    zlib.extend((adler.1 << 16 | adler.0).to_be_bytes());
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend((SIDE as u32).to_be_bytes());
    header.extend((SIDE as u32).to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    for (kind, body) in [(b"IHDR", header), (b"IDAT", zlib), (b"IEND", Vec::new())] {
        png.extend((body.len() as u32).to_be_bytes());
        let chunk = [kind.as_slice(), &body].concat();
        let crc = chunk.iter().fold(!0u32, |crc, v| {
            (0..8).fold(crc ^ u32::from(*v), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
        });
        png.extend(&chunk);
        png.extend((!crc).to_be_bytes());
    }
    png
}
