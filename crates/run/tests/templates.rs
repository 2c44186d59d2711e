//! Values in shell commands, given to real shells: whatever a value holds, it is data.

use std::process::Command;

use serde_json::json;
use windlass_run::{
    expression::Scope,
    template::{Template, Text},
};

/// What should not happen: each of them would make a file called `pwned`, if it were read as program.
const HOSTILE: [&str; 18] = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "; touch pwned",
    "& touch pwned &",
    "| touch pwned",
    "\ntouch pwned\n",
    "\nEOF\ntouch pwned\n",
    "${IFS}touch${IFS}pwned",
    "a[$(touch pwned)]",
    "\\\"; touch pwned; \\\"",
    "\\'; touch pwned; \\'",
    "}; touch pwned; {",
    "*",
    "~",
    ") touch pwned (",
    "#\ntouch pwned",
];

/// Commands that print the value `v`, and only that.
const COMMANDS: [&str; 16] = [
    "printf %s ${{ v }}",
    "printf %s \"${{ v }}\"",
    "printf '%s' \"a${{ v }}b\" | sed 's/^a//; s/b$//'",
    "x=${{ v }}; printf %s \"$x\"",
    "x=\"${{ v }}\" && printf %s \"$x\"",
    "printf %s \"$(printf %s ${{ v }})\"",
    "printf %s \"$(printf %s \"${{ v }}\")\"",
    "cat <<EOF\n${{ v }}\nEOF",
    "cat <<-EOF\n\t${{ v }}\n\tEOF",
    "# says ${{ v }}\nprintf %s ${{ v }}",
    "if [ -n ${{ v }} ]; then printf %s ${{ v }}; fi",
    "case ${{ v }} in 'x y') ;; *) printf %s ${{ v }};; esac",
    "( printf %s ${{ v }} )",
    "{ printf %s ${{ v }}; }",
    "f() { printf %s \"$1\"; }; f ${{ v }}",
    "printf %s \\\n  ${{ v }}",
];

#[test]
fn hostile_values_are_printed_and_never_run() {
    let shells: Vec<&str> = ["sh", "bash", "busybox"]
        .into_iter()
        .filter(|shell| Command::new(shell).args(["sh", "-c", "true"]).output().is_ok())
        .collect();
    assert!(shells.contains(&"sh"), "there is a shell");
    let folder = tempfile::tempdir().expect("a folder");
    for source in COMMANDS {
        let text = Text::parse(source).expect("a template");
        text.check_command().unwrap_or_else(|refused| panic!("{source}: {refused}"));
        for value in HOSTILE {
            let scope = Scope::default().with("v", json!(value));
            let command = text.command(&scope, 1).expect("a command");
            for shell in &shells {
                let mut process = Command::new(shell);
                match *shell {
                    "busybox" => process.args(["sh", "-euc"]),
                    _ => process.arg("-euc"),
                };
                let ran = process
                    .arg(&command.text)
                    .envs(command.variables.clone())
                    .current_dir(folder.path())
                    .output()
                    .expect("it ran");
                let printed = String::from_utf8_lossy(&ran.stdout);
                let said = String::from_utf8_lossy(&ran.stderr);
                let context = format!("{shell}: {source:?} with {value:?}: {printed:?} {said}");
                // `$( )` takes newlines off the end of what it gives, and a here-document adds one.
                assert_eq!(
                    printed.trim_end_matches('\n'),
                    value.trim_end_matches('\n'),
                    "{context}"
                );
                let left: Vec<_> = folder.path().read_dir().expect("listed").collect();
                assert!(left.is_empty(), "{context}: {left:?}");
            }
        }
    }
}

#[test]
fn a_value_that_would_be_read_as_program_is_refused_with_its_place() {
    let refused = |source: &str| {
        let text = Text::parse(source).expect("a template");
        let refused = text.check_command().expect_err(source);
        assert_eq!(refused.at, source.find("${{").expect("a value"), "{source}");
        refused.why
    };
    for source in [
        "sh -c \"echo ${{ v }}\"",
        "/bin/bash -euo pipefail -c ${{ v }}",
        "sudo sh -xc 'true' ${{ v }}",
        "env A=1 python3 -c \"print(${{ v }})\"",
        "eval \"${{ v }}\"",
        "x=1 eval echo ${{ v }}",
        "if true; then eval ${{ v }}; fi; let x=${{ v }}",
        "declare -i n=${{ v }}",
        "trap ${{ v }} EXIT",
        ". ${{ v }}",
        "ssh host ${{ v }}",
        "echo $(( ${{ v }} + 1 ))",
        "(( ${{ v }} > 1 ))",
        "[[ ${{ v }} -eq 1 ]]",
        "echo `echo ${{ v }}`",
        "echo ${x:-${{ v }}}",
        "echo '${{ v }}'",
        "cat <<'EOF'\n${{ v }}\nEOF",
        "cat <<\\EOF\n${{ v }}\nEOF",
        "cat <<${{ v }}\n",
        "echo \\${{ v }}",
        "echo $${{ v }}",
        "echo \"$(sh -c \"${{ v }}\")\"",
    ] {
        assert!(!refused(source).is_empty());
    }
    assert_eq!(
        refused("echo '${{ v }}'"),
        "nothing is put in within single quotes: use double quotes"
    );
}

#[test]
fn what_only_looks_like_program_is_taken() {
    for source in [
        "echo source ${{ v }}",
        "echo 'eval' ${{ v }}",
        "sh script.sh ${{ v }}",
        "bash -x script.sh && echo ${{ v }}",
        "echo \"it's\" ${{ v }}",
        "cat <<< ${{ v }}",
        "echo $((1 + 2)) ${{ v }}",
        "[[ -n x ]] && echo ${{ v }}",
        "echo `date` ${{ v }}",
        "cat <<'EOF'\n'\nEOF\necho ${{ v }}",
        "cat <<A <<B\n'\nA\n\"\nB\necho ${{ v }}",
        "x=${y#'}'} && echo ${{ v }}",
        "python3 tool.py -c config.toml; python3 tool.py ${{ v }}",
    ] {
        let text = Text::parse(source).expect("a template");
        text.check_command().unwrap_or_else(|refused| panic!("{source}: {refused}"));
    }
}

#[test]
fn a_value_that_no_variable_can_hold_is_refused() {
    let template = Text::Template(Template::parse("echo ${{ v }}").expect("a template"));
    let fails = |value: &str| {
        let scope = Scope::default().with("v", json!(value));
        template.command(&scope, 1).expect_err("refused").why
    };
    assert_eq!(fails("a\0b"), "it holds a NUL, which no variable can");
    assert!(fails(&"x".repeat(200_000)).contains("200000 bytes"));
}
