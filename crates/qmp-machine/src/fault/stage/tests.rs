use super::{super::Messages, *};

const STOP: &str = "{\"event\": \"STOP\"}\r\n";
const RESUME: &str = "{\"event\": \"RESUME\"}\r\n";

/// Returns the output for STOP, RESUME, STOP, RESUME at 0, 10, 20 and 30 ms, as `ms text`; line ends are `|`.
fn output_for(faults: &Faults) -> Vec<String> {
    let mut stage = Stage::new(faults, 1);
    let mut outputs = Vec::new();
    let mut listen = |stage: &mut Stage, until: Duration| {
        while let Some(at) = stage.poll_timeout().filter(|at| *at <= until) {
            while let Some(output) = stage.poll_output(at) {
                let text = match output {
                    StageOutput::Bytes(bytes) => String::from_utf8_lossy(&bytes).replace("\r\n", "|"),
                    StageOutput::Close => "closed".to_owned(),
                };
                outputs.push(format!("{} {text}", at.as_millis()));
            }
        }
    };
    for (index, message) in (0..).zip([STOP, RESUME, STOP, RESUME]) {
        let now = Duration::from_millis(index * 10);
        listen(&mut stage, now);
        stage.handle_input(message.as_bytes(), now);
        listen(&mut stage, now);
    }
    listen(&mut stage, Duration::from_secs(10));
    outputs
}

#[test]
fn each_fault_kind_changes_the_stream_as_documented() {
    let delay = FaultKind::Delay { by: Duration::from_millis(15), jitter: Duration::ZERO };
    let rule = |kind: &FaultKind| Fault::new(kind.clone()).of_event("STOP");
    let (stop, resume) = ("{\"event\": \"STOP\"}|", "{\"event\": \"RESUME\"}|");
    let cases: [(&str, Fault, Vec<String>); 8] = [
        ("drop", rule(&FaultKind::Drop), vec![format!("10 {resume}"), format!("30 {resume}")]),
        (
            "delay holds back what follows",
            rule(&delay).times(1),
            vec![format!("15 {stop}"), format!("15 {resume}"), format!("20 {stop}"), format!("30 {resume}")],
        ),
        (
            "reorder",
            rule(&FaultKind::Reorder),
            vec![format!("10 {resume}"), format!("10 {stop}"), format!("30 {resume}"), format!("30 {stop}")],
        ),
        (
            "reorder of the last",
            Fault::new(FaultKind::Reorder).after(3),
            vec![format!("0 {stop}"), format!("10 {resume}"), format!("20 {stop}"), format!("1030 {resume}")],
        ),
        (
            "skip",
            rule(&FaultKind::Drop).after(1),
            vec![format!("0 {stop}"), format!("10 {resume}"), format!("30 {resume}")],
        ),
        (
            "every second",
            Fault { every: 2, ..Fault::new(FaultKind::Drop) },
            vec![format!("10 {resume}"), format!("30 {resume}")],
        ),
        (
            "close",
            Fault::new(FaultKind::Close { bytes: Some(3) }).after(1),
            vec![format!("0 {stop}"), "10 {\"e".into(), "10 closed".into()],
        ),
        ("never greet", Fault::new(FaultKind::NeverGreet).of(Messages::Any), vec![]),
    ];
    for (name, fault, expected) in cases {
        assert_eq!(output_for(&Faults::new(0).with(fault)), expected, "{name}");
    }
}

#[test]
fn corrupted_message_differs_and_keeps_its_line_end() {
    for seed in 0..100 {
        let faults = Faults::new(seed).with(Fault::new(FaultKind::Corrupt { bytes: 1 }));
        let mut stage = Stage::new(&faults, 1);
        stage.handle_input(STOP.as_bytes(), Duration::ZERO);
        let Some(StageOutput::Bytes(bytes)) = stage.poll_output(Duration::ZERO) else { panic!("no output") };
        let others = bytes.iter().zip(STOP.as_bytes()).filter(|(one, other)| one != other).count();
        assert_eq!((others, bytes.len(), bytes.ends_with(b"\r\n")), (1, STOP.len(), true), "{seed}");
    }
}
