//! What to do about a verdict, in sentences.

use super::verdict::Verdict;
use super::words::Told;
use crate::size::bytes;

impl Told<'_> {
    /// What to do about it.
    pub fn advice(&self, verdict: Verdict) -> Vec<String> {
        let pid = self.last.process.pid;
        let longer = format!(
            "Watch it for longer, to tell a leak from a load that is on its way up: thmalloc explain \
             {pid} --for 60."
        );
        let who = "Who allocates is not recorded here. Run the program without thmalloc under \
                   heaptrack, or under valgrind --leak-check=full, and look for this size."
            .to_owned();
        match verdict {
            Verdict::GrowingClass { .. } | Verdict::GrowingObjects | Verdict::GrowingLarge => {
                let mut advice = vec![longer, who];
                advice.push(
                    "No setting of the allocator helps: it cannot free what the program holds.".into(),
                );
                advice
            }
            Verdict::GrowingOther => vec![
                longer,
                format!("See who maps it: strace -f -k -e trace=mmap,munmap,mremap,brk -p {pid}."),
                "Memory of a language's own heap (Java, Go, V8) is of this kind; ask its own tools."
                    .into(),
            ],
            Verdict::GrowingStacks => vec![
                longer,
                format!("Count its threads (ls /proc/{pid}/task): are they joined or detached?"),
            ],
            Verdict::GrowingFiles => vec![
                longer,
                "Pages of files go when others need the memory, unless they are shared memory or \
                 tmpfs; those count."
                    .into(),
            ],
            Verdict::Fragmented => {
                let mut advice = Vec::new();
                if self.trimmable >= self.last.bytes.fragmented / 10 {
                    advice.push(format!(
                        "thmalloc trim {pid} gives the pages without a live object back, about {}.",
                        bytes(self.trimmable)
                    ));
                } else {
                    advice.push(
                        "A trim would bring little: nearly every page has a live object.".into(),
                    );
                }
                advice.push(
                    "In the program, objects that live long and are made among many that do not are \
                     the cause: make them at another time, in a pool of their own, or copy them when \
                     the others are gone."
                        .into(),
                );
                advice.push(format!(
                    "To see where they are: thmalloc map {pid} -o {}.html.",
                    file_name(&self.last.process.name)
                ));
                advice.push("New objects of these sizes take the free places first.".into());
                advice
            }
            Verdict::Cached => vec![
                format!("thmalloc trim {pid}, or malloc_trim(0) in the program, empties the caches."),
                "Caches of busy CPUs fill again: then it is what the program's speed costs.".into(),
            ],
            Verdict::FreeKept => vec![
                "Start it without release_delay=off in THMALLOC_CONF, and memory goes back after 300 \
                 ms by itself."
                    .into(),
                format!("thmalloc trim {pid}, or malloc_trim(0) in the program, gives it back now."),
            ],
            Verdict::FreeWaiting => vec![
                "Nothing, most likely: look again in some seconds.".into(),
                format!("thmalloc trim {pid}, or malloc_trim(0) in the program, gives it back now."),
                format!(
                    "A shorter delay than {} ms: release_delay in THMALLOC_CONF.",
                    self.last.scavenger.delay_ms
                ),
            ],
            Verdict::Live => vec![
                format!("thmalloc stat {pid} says which sizes; heaptrack says who allocates."),
                format!(
                    "If it is more than it should be, watch it while it grows: thmalloc explain \
                     {pid} --for 60."
                ),
            ],
            Verdict::Metadata => vec![
                "Very many large objects that are never touched need books all the same: allocate \
                 fewer."
                    .into(),
            ],
            Verdict::Other => vec![
                format!("See the mappings: pmap -x {pid}. The allocator does not know them."),
                "Memory of a language's own heap (Java, Go, V8) is of this kind; ask its own tools."
                    .into(),
            ],
            Verdict::Stacks => vec![
                "Use fewer threads, or threads that recurse less deep: a stack keeps the pages that \
                 were ever used."
                    .into(),
            ],
            Verdict::Files => vec![
                "Pages of files go when others need the memory, and are shared with whoever maps the \
                 same file; shared memory and tmpfs are not given up."
                    .into(),
                format!("See which: pmap -x {pid}."),
            ],
            Verdict::Little => vec!["Nothing.".into()],
        }
    }
}

/// A name that needs no quotes in a shell.
fn file_name(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_');
    let kept: String = kept.collect();
    if kept.is_empty() { "heap".into() } else { kept }
}
