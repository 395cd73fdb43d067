//! Runs every file of `tests/transcripts` against the client.
//!
//! ```text
//! # remark
//! !  connect | connect oob                    first line
//! S: text                                     the server sends the text and a line end
//! S- text                                     … without a line end
//! C: text                                     the client sends exactly this
//! !  execute COMMAND [ARGUMENTS]              the user of the client acts; also `oob` and `attach`
//! !  wait 5s                                  time passes
//! !  end                                      the server closes
//! >  text                                     the client outputs exactly this
//! ```
//!
//! `$3` is the id of the client's command number 3. The transcript contains all sent lines and all outputs.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use crate::conversation::{Conversation, id};

#[test]
fn client_follows_each_transcript() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut run = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        play(&path.display().to_string(), &text);
        run += 1;
    }
    assert!(run >= 9, "transcripts are missing");
}

/// Outputs and sent lines that the transcript has not yet matched.
struct Player {
    conversation: Conversation,
    outputs: VecDeque<String>,
    sent: VecDeque<String>,
}

fn play(name: &str, text: &str) {
    let mut player =
        Player { conversation: Conversation::new(false), outputs: VecDeque::new(), sent: VecDeque::new() };
    for (number, line) in text.lines().enumerate() {
        let position = format!("{name}:{}", number + 1);
        let line = with_ids(line);
        match line.split_at_checked(3) {
            Some(("C: ", expected)) => {
                assert_eq!(player.sent.pop_front().as_deref(), Some(expected), "{position}");
            }
            Some((">  ", expected)) => {
                assert_eq!(player.outputs.pop_front().as_deref(), Some(expected), "{position}");
            }
            _ if line.starts_with('#') || line.is_empty() => {}
            Some((kind, rest)) => {
                player.expect_all_matched(&position);
                player.act(kind, rest, &position);
                player.sent.extend(player.conversation.sent());
            }
            None => panic!("{position}: {line:?} is not a line of a transcript"),
        }
    }
    player.expect_all_matched(&format!("{name}: end"));
}

impl Player {
    fn expect_all_matched(&self, position: &str) {
        assert_eq!((&self.outputs, &self.sent), (&VecDeque::new(), &VecDeque::new()), "before {position}");
    }

    fn act(&mut self, kind: &str, rest: &str, position: &str) {
        let conversation = &mut self.conversation;
        let outputs = match (kind, rest.split_once(' ').unwrap_or((rest, ""))) {
            ("S: ", _) => conversation.receive(format!("{rest}\r\n").as_bytes()),
            ("S- ", _) => conversation.receive(rest.as_bytes()),
            ("!  ", ("connect", how)) => {
                *conversation = Conversation::new(how == "oob");
                Vec::new()
            }
            ("!  ", ("wait", time)) => {
                let seconds = time.strip_suffix('s').unwrap().parse().unwrap();
                conversation.wait(Duration::from_secs(seconds))
            }
            ("!  ", ("end", "")) => conversation.end(),
            ("!  ", (how, request)) => {
                let (command, arguments) = request.split_once(' ').unwrap_or((request, ""));
                let arguments = (!arguments.is_empty()).then_some(arguments);
                match how {
                    "execute" => conversation.client.execute(command, arguments),
                    "oob" => conversation.client.execute_out_of_band(command, arguments),
                    "attach" => conversation.client.execute_attached(command, arguments),
                    _ => panic!("{position}: unknown action {how:?}"),
                };
                Vec::new()
            }
            _ => panic!("{position}: unknown line"),
        };
        self.outputs.extend(outputs);
    }
}

/// Replaces `$n` by the id of command n.
fn with_ids(line: &str) -> String {
    let mut parts = line.split('$');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        out += &id(part[..digits].parse().unwrap());
        out += &part[digits..];
    }
    out
}
