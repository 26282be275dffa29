//! How many instructions malloc and free take where they mostly end, as
//! `docs/fast-path.txt` has it: a change of them is a change of that file, to be
//! reviewed.
//!
//! They are counted in the compiled code, since a restartable sequence is not one
//! any more under a tool that steps through it. The fast path is the shortest
//! path from a function's entry to its end on which a sequence is committed: the
//! descriptor that it announces (at `rseq_cs`, 8 bytes into the thread's area of
//! the kernel) says where its last instruction ends.
//!
//! The file has the names of the instructions, not their operands: these follow
//! the linker and where things stand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use thmalloc_tests::{Build, hang_guard, library, root, run, skip, target_dir};

/// A pair of functions: what they are, the file that has them, their names, and
/// how many instructions they may take together.
struct Pair {
    what: &'static str,
    file: PathBuf,
    names: [&'static str; 2],
    bar: usize,
}

fn pairs() -> [Pair; 2] {
    let example = target_dir().join("release/examples/fast_path");
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(root())
            .args(["build", "--quiet", "--release"])
            .args(["-p", "thmalloc", "--example", "fast_path"]);
        run(&mut cargo, hang_guard(600)).expect_success("the example fast_path");
    });
    [
        Pair {
            what: "preloaded",
            file: library(Build::Release),
            names: ["malloc", "free"],
            bar: 47,
        },
        Pair {
            what: "as GlobalAlloc",
            file: example,
            names: ["box_of_64_bytes", "drop_of_64_bytes"],
            bar: 40,
        },
    ]
}

/// Where a path is, whether a sequence was committed on it, and where calls return
/// to.
type Place = (u64, bool, Vec<u64>);

/// A file's code and data, and what its pointers will be once it is loaded.
struct Code {
    /// Address and bytes of each section.
    sections: Vec<(u64, Vec<u8>)>,
    functions: BTreeMap<String, u64>,
    pointers: BTreeMap<u64, u64>,
}

impl Code {
    fn read(path: &Path) -> Code {
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = object::File::parse(&*bytes).expect("an ELF file");
        let loaded = file.sections().filter(|section| section.address() != 0);
        let sections = loaded
            .map(|s| (s.address(), s.data().expect("a section's bytes").to_vec()))
            .collect();
        let symbols = file.symbols().chain(file.dynamic_symbols());
        let functions = symbols
            .filter(|symbol| symbol.is_definition())
            .map(|symbol| (symbol.name().expect("a name").to_owned(), symbol.address()))
            .collect();
        let relocations = file.dynamic_relocations().into_iter().flatten();
        let pointers = relocations
            .filter_map(|(place, relocation)| match relocation.target() {
                RelocationTarget::Absolute => Some((place, relocation.addend() as u64)),
                _ => None,
            })
            .collect();
        Code {
            sections,
            functions,
            pointers,
        }
    }

    /// What the file has from an address on; nothing where it has none.
    fn bytes(&self, address: u64) -> &[u8] {
        let holds =
            |start: u64, bytes: &[u8]| (start..start + bytes.len() as u64).contains(&address);
        let mut sections = self.sections.iter();
        match sections.find(|(start, bytes)| holds(*start, bytes)) {
            Some((start, bytes)) => &bytes[(address - start) as usize..],
            None => &[],
        }
    }

    fn at(&self, address: u64) -> Option<Instruction> {
        let bytes = self.bytes(address);
        let instruction = Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode();
        (!instruction.is_invalid()).then_some(instruction)
    }

    /// A pointer in the data: as the loader will make it, or as it stands.
    fn pointer(&self, address: u64) -> Option<u64> {
        let stands = || Some(u64::from_le_bytes(*self.bytes(address).first_chunk()?));
        self.pointers.get(&address).copied().or_else(stands)
    }

    /// Where a call or a jump goes, if the file says it.
    fn target(&self, instruction: &Instruction) -> Option<u64> {
        match instruction.op0_kind() {
            OpKind::NearBranch64 => Some(instruction.near_branch64()),
            OpKind::Memory if instruction.is_ip_rel_memory_operand() => {
                let place = instruction.ip_rel_memory_address();
                self.pointers.get(&place).copied()
            }
            _ => None,
        }
    }

    /// Where the sequence ends that `announcement` begins, if it does; `before` is
    /// the instruction before it, which has the address of the descriptor.
    fn end_of_sequence(&self, before: &Instruction, announcement: &Instruction) -> Option<u64> {
        let announces = announcement.mnemonic() == Mnemonic::Mov
            && announcement.op0_kind() == OpKind::Memory
            && announcement.memory_segment() == Register::FS
            && announcement.memory_displacement64() == 8;
        if !announces || before.mnemonic() != Mnemonic::Lea {
            return None;
        }
        // Of struct rseq_cs: start_ip and post_commit_offset.
        let descriptor = before.ip_rel_memory_address();
        let start = self.pointer(descriptor + 8)?;
        let length = self.pointer(descriptor + 16)?;
        Some(start + length)
    }

    /// The instructions of the fast path of `function`.
    fn fast_path(&self, function: &str) -> Vec<String> {
        /// Functions may call one another so deep.
        const DEPTH: usize = 2;
        let entry = *self
            .functions
            .get(function)
            .unwrap_or_else(|| panic!("no function {function}"));
        let first: Place = (entry, false, Vec::new());
        let mut came_from: BTreeMap<Place, Place> = BTreeMap::new();
        let mut seen: BTreeSet<Place> = BTreeSet::from([first.clone()]);
        let mut next = VecDeque::from([first]);
        let mut ends: BTreeSet<u64> = BTreeSet::new();
        while let Some(place) = next.pop_front() {
            let (address, committed, calls) = place.clone();
            let Some(instruction) = self.at(address) else {
                continue;
            };
            let before = came_from.get(&place).and_then(|before| self.at(before.0));
            ends.extend(before.and_then(|before| self.end_of_sequence(&before, &instruction)));
            let after = instruction.next_ip();
            let mut follow = Vec::new();
            let mut commits = false;
            match instruction.flow_control() {
                FlowControl::Next => {
                    commits = ends.contains(&after);
                    follow.push((after, calls));
                }
                FlowControl::ConditionalBranch => {
                    follow.push((after, calls.clone()));
                    follow.push((instruction.near_branch64(), calls));
                }
                FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
                    follow.extend(self.target(&instruction).map(|target| (target, calls)));
                }
                FlowControl::Call | FlowControl::IndirectCall if calls.len() < DEPTH => {
                    let mut deeper = calls;
                    deeper.push(after);
                    follow.extend(self.target(&instruction).map(|target| (target, deeper)));
                }
                FlowControl::Return => {
                    let mut back = calls;
                    match back.pop() {
                        Some(address) => follow.push((address, back)),
                        None if committed => return self.listing(place, &came_from),
                        None => {}
                    }
                }
                _ => {}
            }
            for (address, calls) in follow {
                let following = (address, committed || commits, calls);
                if seen.insert(following.clone()) {
                    came_from.insert(following.clone(), place.clone());
                    next.push_back(following);
                }
            }
        }
        panic!("no path through {function} commits a restartable sequence");
    }

    fn listing(&self, last: Place, came_from: &BTreeMap<Place, Place>) -> Vec<String> {
        let mut path = vec![last];
        while let Some(before) = came_from.get(path.last().expect("the last place is there")) {
            path.push(before.clone());
        }
        let name = |place: &Place| {
            let instruction = self.at(place.0).expect("it was followed");
            format!("{:?}", instruction.mnemonic()).to_lowercase()
        };
        path.iter().rev().map(name).collect()
    }
}

/// The first line of the file: whose code these are.
fn compiler() -> String {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let outcome = run(rustc.current_dir(root()).arg("--version"), hang_guard(60));
    let words: Vec<&str> = outcome.stdout.split_whitespace().take(2).collect();
    words.join(" ")
}

/// Lines of at most 72 columns.
fn wrapped(words: &[String]) -> String {
    const INDENT: &str = "   ";
    let mut text = String::new();
    let mut line = String::from(INDENT);
    for word in words {
        if line.len() + 1 + word.len() > 72 {
            text += &format!("{line}\n");
            line = String::from(INDENT);
        }
        line += &format!(" {word}");
    }
    text + &format!("{line}\n")
}

#[test]
fn the_fast_path_is_the_reviewed_one() {
    let compiler = compiler();
    let mut text = format!(
        "Instructions of malloc and free on the fast path, as compiled by\n{compiler}.\n\
         Where they mostly end: 64 bytes, the CPU's cache has room and objects.\n"
    );
    for pair in pairs() {
        let code = Code::read(&pair.file);
        let paths = pair.names.map(|name| (name, code.fast_path(name)));
        let sum: usize = paths.iter().map(|(_, path)| path.len()).sum();
        text += &format!("\n{}: {sum} of at most {}\n", pair.what, pair.bar);
        for (name, path) in &paths {
            text += &format!("{name}: {}\n{}", path.len(), wrapped(path));
        }
    }
    let found = target_dir().join("fast-path.txt");
    std::fs::write(&found, &text).expect("a file in the target directory");
    let reviewed = std::fs::read_to_string(root().join("docs/fast-path.txt")).unwrap_or_default();
    if !reviewed.contains(&format!("\n{compiler}.\n")) && !reviewed.is_empty() {
        skip(
            "the_fast_path_is_the_reviewed_one",
            "docs/fast-path.txt is of another compiler",
        );
        return;
    }
    assert!(
        text == reviewed,
        "the fast path is another one than in docs/fast-path.txt. If that is meant, let it \
         be reviewed, with the counts before and after in the commit's message:\n\
         cp {} docs/fast-path.txt\n\nfound:\n{text}\nreviewed:\n{reviewed}",
        found.display()
    );
}

/// With any compiler.
#[test]
fn the_fast_path_is_as_short_as_is_asked_for() {
    for pair in pairs() {
        let code = Code::read(&pair.file);
        let counts = pair.names.map(|name| code.fast_path(name).len());
        let sum: usize = counts.iter().sum();
        assert!(
            sum <= pair.bar,
            "{}: {:?} take {counts:?} instructions, {sum}, and {} are asked for",
            pair.what,
            pair.names,
            pair.bar
        );
    }
}
