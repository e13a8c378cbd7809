//! The report page: safe, well formed, complete and small, whatever the names and numbers are.

use dml_eval::report::{
    Axis, ClassTable, Confusions, Curves, Gallery, GalleryRow, Histogram, Mark, MetricRow, MetricTable, PlaneMap,
    Point, Projection, Report, Scale, Section, Series, Text, Tile,
};

const EVIL: &str = "</script><img src=x onerror=\"alert('1')\"> & | <!-- ` \u{202e} \u{0}";

fn axis(label: &str, scale: Scale, min: f64, max: f64) -> Axis {
    Axis { label: label.to_owned(), scale, min, max }
}

/// Every kind of section with `name` wherever a name may stand.
fn every_section(name: &str) -> Report {
    let name = || name.to_owned();
    let png = b"\x89PNG\r\n\x1a\nrest".to_vec();
    let tile = |picture| Tile { label: name(), id: name(), picture };
    let row = MetricRow {
        name: name(),
        value: 0.123456789,
        low: Some(0.1),
        high: Some(0.2),
        percent: true,
        definition: name(),
        n: Some(7),
    };
    let undefined =
        MetricRow { value: f64::NAN, low: Some(f64::NAN), high: Some(f64::INFINITY), n: None, ..row.clone() };
    Report {
        title: name(),
        facts: vec![(name(), name())],
        warnings: vec![name()],
        sections: vec![
            Section::Metrics(MetricTable { title: name(), rows: vec![row, undefined], note: name() }),
            Section::Curves(Curves {
                title: name(),
                x: axis(&name(), Scale::Log, 1e-4, 1.0),
                y: axis(&name(), Scale::Probit, 1e-3, 0.5),
                series: vec![Series {
                    name: name(),
                    points: vec![(0.0, 0.4), (0.011, 0.3), (f64::NAN, 0.2), (1.0, 0.0)],
                    faint: false,
                }],
                marks: vec![Mark { label: name(), x: 0.1, y: 0.1 }],
                note: name(),
            }),
            Section::Histogram(Histogram {
                title: name(),
                x_label: name(),
                edges: vec![0.0, 0.5, 1.0],
                series: vec![(name(), vec![0.25, f64::NAN])],
                lines: vec![(name(), 0.75)],
                note: name(),
            }),
            Section::Gallery(Gallery {
                title: name(),
                rows: vec![GalleryRow {
                    group: name(),
                    query: tile(Some(png)),
                    neighbours: vec![(tile(None), true, 0.875), (tile(Some(vec![1, 2])), false, f32::NAN)],
                }],
            }),
            Section::Projection(Projection {
                title: name(),
                points: [0, 9, 9].map(|class| Point { class, id: name() }).to_vec(),
                classes: vec![name()],
                maps: vec![
                    PlaneMap { name: name(), method: name(), places: vec![[1.5, -2.25], [f32::NAN, 0.0], [3.5, 0.25]] },
                    PlaneMap { name: name(), method: name(), places: vec![[1.0, 1.0]] },
                ],
                note: name(),
            }),
            Section::Classes(ClassTable {
                title: name(),
                columns: vec![name(), name()],
                rows: vec![(name(), vec![0.0625, f64::NAN]), (name(), vec![])],
            }),
            Section::Confusions(Confusions {
                title: name(),
                pairs: vec![(name(), name(), 31, 0.775)],
                matrix: Some((vec![name(), name()], vec![vec![9, 31], vec![]])),
            }),
            Section::Text(Text { title: name(), paragraphs: vec![name()] }),
        ],
    }
}

/// Names of the open elements at every point must close in order. Script and style hold no markup.
fn assert_well_formed(html: &str) {
    const VOID: [&str; 4] = ["meta", "img", "input", "br"];
    let mut open: Vec<String> = Vec::new();
    let mut rest = html.strip_prefix("<!doctype html>").expect("a page begins with its doctype");
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let tag = &rest[..end.expect("every tag ends")];
        rest = &rest[tag.len() + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}> closes what is not open, before {:.80}", rest);
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && !name.is_empty(), "<{tag}> is no tag");
        if tag.ends_with('/') || VOID.contains(&name) {
            continue;
        }
        open.push(name.to_owned());
        if name == "script" || name == "style" {
            let end = format!("</{name}");
            rest = &rest[rest.find(&end).expect("script and style end")..];
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn hostile_names_stay_text() {
    let html = every_section(EVIL).html().unwrap();
    assert_well_formed(&html);
    assert!(!html.contains("<img src=x"), "a name became an element");
    assert!(!html.contains("<!--") && !html.contains('\0'));
    assert_eq!(html.matches("onerror=\"").count(), 0, "a name became an attribute");
    // The data in scripts is still JSON and still holds the name.
    let mut blocks = 0;
    for block in html.split("<script type=\"application/json\">").skip(1) {
        let json = block.split("</script>").next().unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(json).unwrap().to_string().contains("</script>"));
        blocks += 1;
    }
    assert_eq!(blocks, 4, "curves, histogram, projection and classes carry data");
    let markdown = every_section(EVIL).markdown();
    assert!(!markdown.contains("<img") && !markdown.contains("</script>"));
}

#[test]
fn names_in_markdown_do_not_break_a_table() {
    let markdown = every_section("a | b\nc").markdown();
    let heads = markdown.lines().filter(|l| l.starts_with("| ---")).count();
    assert_eq!(heads, 8, "one table per kind but text, and two of confusions:\n{markdown}");
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    let lines: Vec<&str> = markdown.lines().collect();
    for pair in lines.windows(2).filter(|p| p.iter().all(|l| l.starts_with('|'))) {
        // Two tables may stand below each other only with an empty line between.
        assert_eq!(columns(pair[0]), columns(pair[1]), "{pair:?}");
    }
}

#[test]
fn the_page_stands_alone() {
    let html = every_section("Ærøskøbing").html().unwrap();
    assert_well_formed(&html);
    for outside in ["http://", "https://", "src=\"/", "@import", "url("] {
        assert!(!html.contains(outside), "the page asks for {outside}");
    }
    assert!(html.contains("src=\"data:image/png;base64,iVBORw0KGgpyZXN0\""));
    assert!(html.contains("aria-label=\"right\">✓<") && html.contains("aria-label=\"wrong\">✗<"));
    assert!(!html.contains("NaN"), "a number that is none reads –");
    assert!(html.contains("<strong>–</strong>"));
    assert!(html.contains("12.35\u{a0}%"), "a share reads as a percentage");
}

#[test]
fn json_holds_every_number_unrounded() {
    let json: serde_json::Value = serde_json::from_str(&every_section("x").json().unwrap()).unwrap();
    let section = |i: usize| &json["sections"][i];
    assert_eq!(section(0)["kind"], "metrics");
    assert_eq!(section(0)["rows"][0]["value"], 0.123456789);
    assert_eq!(section(0)["rows"][0]["high"], 0.2);
    assert!(section(0)["rows"][1]["value"].is_null());
    assert_eq!(section(1)["series"][0]["points"][1][0], 0.011);
    assert_eq!(section(1)["x"]["scale"], "log");
    assert_eq!(section(2)["series"][0][1][0], 0.25);
    assert_eq!(section(2)["lines"][0][1], 0.75);
    assert_eq!(section(3)["rows"][0]["neighbours"][0][2], 0.875);
    assert_eq!(section(3)["rows"][0]["query"]["picture"], "data:image/png;base64,iVBORw0KGgpyZXN0");
    assert_eq!(section(4)["maps"][0]["places"][0][1], -2.25);
    assert_eq!(section(4)["points"][1]["class"], 9);
    assert_eq!(section(5)["rows"][0][1][0], 0.0625);
    assert_eq!(section(6)["pairs"][0][2], 31);
    assert_eq!(section(6)["matrix"][1][0][1], 31);
}

#[test]
fn empty_sections_say_so() {
    let sections = vec![
        Section::Metrics(MetricTable::default()),
        Section::Curves(Curves::default()),
        Section::Histogram(Histogram::default()),
        Section::Gallery(Gallery::default()),
        Section::Projection(Projection::default()),
        Section::Classes(ClassTable::default()),
        Section::Confusions(Confusions::default()),
        Section::Text(Text::default()),
    ];
    let report = Report { sections, ..Report::default() };
    let html = report.html().unwrap();
    assert_well_formed(&html);
    assert_eq!(html.matches("Nothing to show.").count(), 8);
    assert_eq!(report.markdown().matches("Nothing to show.").count(), 8);
    assert_well_formed(&Report::default().html().unwrap());
}

#[test]
fn frames_without_length_and_infinite_values_are_drawn_without_points() {
    let points = vec![(f64::INFINITY, 0.5), (0.5, f64::NEG_INFINITY), (0.5, 0.5)];
    let flat = Curves {
        y: axis("y", Scale::Linear, 1.0, 1.0),
        x: axis("x", Scale::Linear, f64::NAN, 1.0),
        series: vec![Series { name: "s".to_owned(), points, faint: true }],
        ..Curves::default()
    };
    let same = Histogram { edges: vec![2.0, 2.0], series: vec![("s".to_owned(), vec![1.0])], ..Histogram::default() };
    let report = Report { sections: vec![Section::Curves(flat), Section::Histogram(same)], ..Report::default() };
    let html = report.html().unwrap();
    assert_well_formed(&html);
    assert!(!html.contains("NaN") && !html.contains("\"inf") && !html.contains("Minf"));
}

#[test]
fn ten_thousand_classes_and_sixty_thousand_points_stay_below_ten_megabytes() {
    let classes: Vec<String> = (0..10_000).map(|i| format!("class number {i}")).collect();
    let number = |i: usize, j: usize| (i * 7919 + j * 104_729) as f64 / 1e9 % 1.0;
    let rows = classes.iter().enumerate().map(|(i, c)| (c.clone(), (0..5).map(|j| number(i, j)).collect())).collect();
    let point = |i: usize| Point { class: (i % 10_000) as u32, id: format!("images/{i:06}.jpg") };
    let map = |name: &str| PlaneMap {
        name: name.to_owned(),
        places: (0..60_000).map(|i| [number(i, name.len()) as f32, number(i, 2) as f32]).collect(),
        ..PlaneMap::default()
    };
    let columns = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
    let table = ClassTable { title: "Classes".to_owned(), columns, rows };
    let points = (0..60_000).map(point).collect();
    let maps = vec![map("PCA"), map("t-SNE")];
    let projection = Projection { title: "Plane".to_owned(), points, maps, classes, note: String::new() };
    let sections = vec![Section::Classes(table), Section::Projection(projection)];
    let report = Report { title: "Large".to_owned(), sections, ..Report::default() };
    let html = report.html().unwrap();
    assert!(html.len() < 10_000_000, "{} bytes", html.len());
    assert!(html.contains("class number 9999") && html.contains("images/059999.jpg"));
    assert_eq!(html.matches("<th scope=\"row\"").count(), 100, "rows in the page without JavaScript");
}

#[test]
fn maps_share_their_points_and_are_there_without_javascript() {
    let point = |class: u32| Point { class, id: format!("item {class}") };
    let map = |name: &str, places: [[f32; 2]; 4]| PlaneMap {
        name: name.to_owned(),
        method: format!("how {name} came"),
        places: places.to_vec(),
    };
    // 2 by 1, and 1 by 4: a unit is as long in both directions, and the cloud stands in the middle.
    let wide = map("PCA", [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [f32::NAN, 1.0]]);
    let high = map("t-SNE", [[0.0, -2.0], [1.0, 2.0], [0.0, 2.0], [1.0, -2.0]]);
    let projection = Projection {
        title: "Plane".to_owned(),
        points: [3, 3, 5, 5].map(point).to_vec(),
        classes: (0..6).map(|c| format!("class {c}")).collect(),
        maps: vec![wide, high],
        note: "All rows.".to_owned(),
    };
    let report = Report { sections: vec![Section::Projection(projection)], ..Report::default() };
    let html = report.html().unwrap();
    assert_well_formed(&html);
    let json = html.split("<script type=\"application/json\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(data["classes"], serde_json::json!(["class 3", "class 5"]));
    assert_eq!(data["of"], serde_json::json!([0, 0, 1, 1]));
    assert_eq!(data["maps"][0], serde_json::json!([0, 3071, 4095, 3071, 4095, 1024, -1, -1]));
    assert_eq!(data["maps"][1], serde_json::json!([1536, 4095, 2559, 0, 1536, 0, 2559, 4095]));
    assert_eq!(html.matches("<canvas").count(), 2);
    assert!(html.contains("how PCA came 1 without a place are not drawn."));
    let sketches: Vec<&str> =
        html.split("<noscript><svg").skip(1).map(|s| s.split("</noscript>").next().unwrap()).collect();
    let dots: Vec<usize> = sketches.iter().map(|sketch| sketch.matches("h0").count()).collect();
    assert_eq!(dots, [3, 4], "every point with a place is in the still picture");
    let markdown = report.markdown();
    assert!(markdown.contains("- t-SNE: how t-SNE came\n") && markdown.contains("All rows."), "{markdown}");
    assert!(markdown.contains("| Class | Points | PCA x | PCA y | t-SNE x | t-SNE y |\n"), "{markdown}");
    assert!(markdown.contains("| class 3 | 2 | 1 | 0 | 0.5000 | 0 |\n"), "{markdown}");
}

#[test]
fn three_whole_files_replace_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("deep/er");
    every_section("old").write(&place).unwrap();
    let report = every_section("new");
    report.write(&place).unwrap();
    let read = |name: &str| std::fs::read_to_string(place.join(name)).unwrap();
    assert_eq!(read("report.html"), report.html().unwrap());
    assert_eq!(read("report.md"), report.markdown());
    assert_eq!(read("report.json"), report.json().unwrap());
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 3, "nothing is left beside them");
    // A file stands where the folder should be.
    let refused = report.write(&place.join("report.md")).unwrap_err().to_string();
    assert!(refused.contains("report.md"), "{refused}");
}

#[test]
fn a_report_comes_back_from_its_json() {
    for name in ["cardinal", EVIL] {
        let report = every_section(name);
        let json = report.json().unwrap();
        let read = Report::from_json(&json).unwrap();
        assert_eq!(read.json().unwrap(), json);
        assert_eq!((read.title, read.facts, read.warnings), (report.title, report.facts, report.warnings));
    }
    // Where every number is one, nothing at all is lost: not the picture, and not a page.
    let mut report = every_section("cardinal");
    for section in &mut report.sections {
        match section {
            Section::Metrics(table) => table.rows.truncate(1),
            Section::Curves(curves) => curves.series[0].points.retain(|point| !point.0.is_nan()),
            Section::Histogram(histogram) => histogram.series[0].1 = vec![0.25, 1e-7],
            Section::Gallery(gallery) => gallery.rows[0].neighbours.truncate(1),
            Section::Projection(projection) => projection.maps[0].places[1] = [0.5, 0.0],
            Section::Classes(table) => table.rows[0].1 = vec![0.0625, 1e300],
            _ => {}
        }
    }
    let read = Report::from_json(&report.json().unwrap()).unwrap();
    assert_eq!(read, report);
    assert_eq!(read.html().unwrap(), report.html().unwrap());

    let error = |json: &str| Report::from_json(json).unwrap_err().to_string();
    assert!(error("{}").contains("no report: missing field `title`"), "{}", error("{}"));
    let broken = report.json().unwrap().replace("data:image/png;base64,", "data:image/png;base64,*");
    assert!(error(&broken).contains("no data URI"), "{}", error(&broken));
}
