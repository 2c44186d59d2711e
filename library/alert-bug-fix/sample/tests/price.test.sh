test "$(sh price.sh 6 3)" -eq 2
