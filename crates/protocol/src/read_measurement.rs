//! Reading a record, also one of schema 1, which is no longer written.

use serde::Deserialize;

use crate::latency::latencies;
use crate::measurement::first_part;
use crate::{
    CellFailure, CellKey, CellSize, CollectiveShares, Device, DeviceSeconds, FailureKind, Generation,
    GpuSeries, Measured, MeasuredCell, Measurement, Memory, Outcome, Phase, Precision, Procedure, Ranks,
    SCHEMA,
};

impl Measurement {
    /// Reads a record as JSON, of this schema or of version 1.
    ///
    /// # Errors
    /// Says what is wrong, and in which column.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let record = Self::of_any_schema(json)?;
        let CellKey { batch_size, prompt_length, generation_length, ranks, .. } = record.key;
        let sizes = [
            ("batch_size", batch_size),
            ("prompt_length", prompt_length),
            ("generation_length", generation_length),
            ("world_size", ranks.world_size),
        ];
        record.series().map_or(Ok(()), Measured::check_device_clock)?;
        match sizes.into_iter().find(|(_, size)| *size == 0) {
            None => Ok(record),
            Some((name, _)) => Err(format!("{name}: expected a whole number from 1, found 0")),
        }
    }

    fn of_any_schema(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let words = |error: serde_json::Error| format!("not a record: {error}");
        match serde_json::from_slice::<Self>(json) {
            Ok(record) if record.schema == SCHEMA => Ok(record),
            other => match (other, serde_json::from_slice(json)) {
                (_, Ok(Version { schema: 1 })) => {
                    serde_json::from_slice::<MeasurementV1>(json).map(Self::from).map_err(words)
                }
                (Err(error), Ok(Version { schema: SCHEMA }) | Err(_)) => Err(words(error)),
                (_, Ok(Version { schema })) => Err(format!("schema: expected 1 or {SCHEMA}, found {schema}")),
                (Ok(_), Err(error)) => Err(words(error)),
            },
        }
    }
}

/// A record of schema 1: every field beside every other, whether or not the cell was measured.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct MeasurementV1 {
    #[serde(rename = "schema")]
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    _schema: u32,
    #[serde(deserialize_with = "crate::texts::name")]
    #[cfg_attr(test, schemars(with = "crate::schema::Name"))]
    engine: String,
    #[serde(deserialize_with = "crate::texts::name")]
    #[cfg_attr(test, schemars(with = "crate::schema::Name"))]
    model: String,
    precision: Precision,
    device: Device,
    #[cfg_attr(test, schemars(range(min = 1)))]
    world_size: u32,
    #[serde(default)]
    one_rank: bool,
    device_memory_limit_bytes: Option<u64>,
    #[cfg_attr(test, schemars(range(min = 1)))]
    batch_size: u32,
    #[cfg_attr(test, schemars(range(min = 1)))]
    prompt_length: u32,
    #[cfg_attr(test, schemars(range(min = 1)))]
    generation_length: u32,
    replicate: u32,
    outcome: OutcomeV1,
    phase: Option<Phase>,
    error: Option<String>,
    inferred_from: Option<CellSize>,
    #[serde(default = "first_part")]
    part: u32,
    #[serde(default, deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Seconds>"))]
    load_seconds: Option<f64>,
    #[serde(default, deserialize_with = "crate::texts::record_notes")]
    #[cfg_attr(test, schemars(with = "crate::schema::RecordNotes"))]
    notes: Vec<String>,
    procedure: Option<Procedure>,
    #[serde(deserialize_with = "latencies")]
    #[cfg_attr(test, schemars(with = "Vec<crate::schema::Latency>"))]
    prompt_seconds: Vec<f64>,
    generations: Vec<Generation>,
    device_seconds: Option<DeviceSeconds>,
    memory: Memory,
    #[serde(default)]
    ranks: Vec<Memory>,
    collectives: Option<CollectiveShares>,
    tokens_sha256: Option<String>,
    #[serde(default, deserialize_with = "crate::bounds::per_second")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Rate>"))]
    read_bytes_per_second: Option<f64>,
    gpu: Option<GpuSeries>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum OutcomeV1 {
    Ok,
    OutOfMemory,
    TimedOut,
    Crashed,
    Failed,
    Skipped,
}

impl OutcomeV1 {
    /// How the cell failed; `None` where it was measured.
    fn failure(self) -> Option<FailureKind> {
        match self {
            Self::Ok => None,
            Self::OutOfMemory => Some(FailureKind::OutOfMemory),
            Self::TimedOut => Some(FailureKind::TimedOut),
            Self::Crashed => Some(FailureKind::Crashed),
            Self::Failed => Some(FailureKind::Failed),
            Self::Skipped => Some(FailureKind::Skipped),
        }
    }
}

impl From<MeasurementV1> for Measurement {
    fn from(record: MeasurementV1) -> Self {
        let outcome = match record.outcome.failure() {
            None => Outcome::Ok(Box::new(MeasuredCell {
                load_seconds: record.load_seconds,
                notes: record.notes,
                series: Measured {
                    prompt_seconds: record.prompt_seconds,
                    generations: record.generations,
                    device_seconds: record.device_seconds,
                    memory: record.memory,
                    ranks: record.ranks,
                    collectives: record.collectives,
                    tokens_sha256: record.tokens_sha256.unwrap_or_default(),
                },
            })),
            Some(kind) => Outcome::Failed(CellFailure {
                kind,
                phase: record.phase,
                error: record.error.unwrap_or_else(|| "no report".into()),
                inferred_from: record.inferred_from,
            }),
        };
        Self {
            schema: SCHEMA,
            key: CellKey {
                model: record.model,
                precision: record.precision,
                device: record.device,
                ranks: Ranks { world_size: record.world_size, one_rank: record.one_rank },
                engine: record.engine,
                batch_size: record.batch_size,
                prompt_length: record.prompt_length,
                generation_length: record.generation_length,
            },
            replicate: record.replicate,
            part: record.part,
            device_memory_limit_bytes: record.device_memory_limit_bytes,
            procedure: record.procedure,
            read_bytes_per_second: record.read_bytes_per_second,
            gpu: record.gpu,
            machine_load: None,
            outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_both_schemas_are_read_and_others_are_named() {
        let old = r#"{"schema":1,"engine":"a","model":"m","precision":"fp32","device":"cpu","world_size":4,"one_rank":true,
            "batch_size":1,"prompt_length":16,"generation_length":1,"replicate":2,"phase":null,"error":null,"load_seconds":0.5,
            "outcome":"ok","prompt_seconds":[0.1],"generations":[],"memory":{"weights_bytes":1,"kv_cache_bytes":null,
            "peak_bytes":2},"tokens_sha256":"aa"}"#;
        let record = Measurement::from_json(old.as_bytes()).unwrap();
        assert_eq!(record.key.ranks, crate::Ranks { world_size: 4, one_rank: true });
        assert_eq!((record.schema, record.replicate, record.part), (SCHEMA, 2, 1));
        assert_eq!(record.series().unwrap().memory.peak_bytes, Some(2));
        let again = Measurement::from_json(&serde_json::to_vec(&record).unwrap());
        assert_eq!(again, Ok(record));

        let failed = old
            .replace(r#""outcome":"ok""#, r#""outcome":"out_of_memory""#)
            .replace("null,\"error\":null", "\"prompt\",\"error\":\"x\"");
        let failure = CellFailure::new(FailureKind::OutOfMemory, Phase::Prompt, "x".into());
        assert_eq!(Measurement::from_json(failed.as_bytes()).unwrap().failure(), Some(&failure));

        let error = |json: &str| Measurement::from_json(json.as_bytes()).unwrap_err();
        assert_eq!(error(&old.replace("\"schema\":1", "\"schema\":3")), "schema: expected 1 or 2, found 3");
        assert!(
            error(&old.replace("[0.1]", "[0]"))
                .starts_with("not a record: latency must be from 1e-9 to 1e9 s, found 0")
        );
        assert!(
            error(&old.replace("\"engine\"", "\"motor\"")).starts_with("not a record: unknown field `motor`")
        );
        assert!(error("{}").starts_with("not a record: "));
        let zero = error(&old.replace("\"prompt_length\":16", "\"prompt_length\":0"));
        assert_eq!(zero, "prompt_length: expected a whole number from 1, found 0");
        let on_device = r#""generations":[],"device_seconds":{"prompt":[0.3],"tokens":[]}"#;
        assert_eq!(
            error(&old.replace(r#""generations":[]"#, on_device)),
            "prefills: 0.300 s by the device's clock, and 0.100 s by the host's, which waits for them"
        );
        let outcome = error(&old.replace(r#""outcome":"ok""#, r#""outcome":"fine""#));
        assert!(
            outcome.starts_with("not a record: unknown variant `fine`, expected one of `ok`, "),
            "{outcome}"
        );
    }
}
