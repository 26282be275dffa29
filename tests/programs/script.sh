# Arrays, string surgery, functions, recursion, subshells, pipes, traps and
# jobs of bash; prints only what is the same in each run.
set -u

declare -A count
for ((i = 0; i < 20000; i++)); do
	key=k$((i * i % 97))
	count[$key]=$((${count[$key]:-0} + 1))
done
for key in "${!count[@]}"; do echo "$key ${count[$key]}"; done | sort

list=(start)
for ((i = 0; i < 5000; i++)); do list+=("item $i ${list[i / 2]:0:40}"); done
printf '%s\n' "${#list[@]}" "${list[4999]}"

text=
for ((i = 0; i < 4000; i++)); do text+="$i,"; done
echo "${#text} ${text//1/one}" | cksum
text=${text^^}${text,,}${text%%,*}${text##*,}
echo "${#text}"

fibonacci() {
	if (($1 < 2)); then echo "$1"; else
		echo $(($(fibonacci $(($1 - 1))) + $(fibonacci $(($1 - 2)))))
	fi
}
fibonacci 9

while IFS=, read -r first second rest; do
	echo "$second $first ${rest:-nothing}"
done < <(for i in {1..200}; do echo "$i,$((i * 7)),$((i % 3))"; done) | tail -n 5

cat <<-END | tr a-z A-Z
	A here document with $((6 * 7)) and $(echo a command).
END

for i in {1..20}; do (exit $((i % 4))) & done
wait
trap 'echo "left by trap with $?"' EXIT
trap 'echo "was interrupted"' USR1
kill -USR1 $$

[[ "thmalloc-2024" =~ ^([a-z]+)-([0-9]+)$ ]] && echo "${BASH_REMATCH[@]}"
printf '%q %05d %x\n' "a b'c" 42 255
eval 'echo evaluated $((2 ** 40))'
# It stays until it is told to go: bash forgets one that has ended.
coproc { read -r line; echo "coprocess got $line"; read -r line; }
echo hello >&"${COPROC[1]}"
read -r answer <&"${COPROC[0]}"
echo "$answer"
echo bye >&"${COPROC[1]}"
wait
exit 3
