//! Where the timing loop stops: the cases that docs/reference/protocol.md gives to workers of other languages.

use serde_json::Value;
use stats::{MeanInterval, Until};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn it_stops_where_the_cases_say() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("until.json")).unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let until =
            Until { share: case["share"].as_f64().unwrap(), least: size("least"), most: size("most") };
        let series: Vec<Vec<f64>> = case["series"].as_array().unwrap().iter().map(numbers).collect();
        let stops = (1..=until.most).find(|&count| {
            let known: Vec<&[f64]> = series.iter().map(|series| &series[..count]).collect();
            until.is_reached(&known)
        });
        assert_eq!(stops, Some(size("stops_after")), "{name}");
        for (series, expected) in series.iter().zip(numbers(&case["relative_half_widths"])) {
            let found = MeanInterval::new(&series[..size("stops_after")]).unwrap().relative();
            assert!((found - expected).abs() <= 1e-9 * expected, "{name}: {found} {expected}");
        }
    }
}
