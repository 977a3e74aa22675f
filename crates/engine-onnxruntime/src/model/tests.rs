use super::*;
use crate::cache_layout::attention_head_dim;
use crate::graph::LogitRows;
use crate::onnx::{DataType, GraphProto};

fn model(initializer: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto { name: "g".into(), initializer, ..GraphProto::default() };
    ModelProto::new(graph, 18)
}

#[test]
fn weights_beyond_the_devices_limit_are_out_of_memory() {
    let half = DataType::Float16.into();
    // 1024 bytes elsewhere, 1000 that are not placed yet, and a scalar: 256 more.
    let mut external = TensorProto { dims: vec![2, 256], data_type: half, ..TensorProto::default() };
    external.place("model.onnx.data", 0, 1024);
    let unplaced = TensorProto { dims: vec![500], data_type: half, ..TensorProto::default() };
    let model = model(vec![external, unplaced, TensorProto::int64("one", &[], &[1])]);
    let decoded = ModelProto::decode(model.encode_to_vec().as_slice()).unwrap();
    let check = |limit| check_device(Device::Cuda(1), &decoded, limit).map_err(|error| error.to_string());
    assert_eq!(check(None), Ok(()));
    assert_eq!(check(Some(2304)), Ok(()));
    assert_eq!(
        check(Some(2303)).unwrap_err(),
        "out of memory: 2304 bytes of weights and constants; device_memory_limit is 2303 on cuda:1"
    );
}

#[test]
fn the_tables_of_positions_are_in_the_devices_memory_too() {
    let text = include_str!("../../../../configs/models/llama2-15m.json");
    let config = LlamaConfig::parse(text, "llama2-15m.json").unwrap();
    let interface = Interface::Engine { rows: LogitRows::Last, sums: false };
    let model = graph::llama(&config, Dtype::Fp16, interface, Fused::NONE);
    let tables = 2 * (config.max_position_embeddings * attention_head_dim(&config) / 2) as u64 * 2;
    let weights = held_bytes(&config, false, Dtype::Fp16);
    let rest = arena_bytes(&model) - weights - tables;
    // What is left are constants of the graph.
    assert!(rest < 16 * 256, "{rest}");
}

#[test]
fn a_tensor_is_as_large_as_its_type_says_wherever_its_numbers_are() {
    let bytes = |data_type, dims: &[i64]| {
        TensorProto { dims: dims.into(), data_type, ..TensorProto::default() }.bytes()
    };
    assert_eq!([1, 7, 10, 16, 22].map(|data_type| bytes(data_type, &[3, 5])), [60, 120, 30, 30, 8]);
    assert_eq!((bytes(10, &[]), bytes(10, &[0, 4]), bytes(10, &[-1])), (2, 0, 0));
    assert_eq!(bytes(10, &[i64::MAX, 4]), u64::MAX / 8 + 1);
    // Strings: as many bytes as there are.
    assert_eq!(
        TensorProto { data_type: 8, ..TensorProto::raw("s", DataType::Undefined, &[9], vec![0; 5]) }.bytes(),
        5
    );
}
