test "$(sh greet.sh)" = "hello, world"
