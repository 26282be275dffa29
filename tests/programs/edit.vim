" Substitutions, sorting, macros, undo, registers, buffers, lists and regular
" expressions of Vim, without a terminal.
set nocompatible nomore
set undolevels=1000
%s/\(\x\x\)\(\x\x\)/\2\1/g
g/^[0-9]/normal! Aends in a digit's line
v/a/d
sort u
1,200s/\<\(\x\{4,}\)\>/\=toupper(submatch(1)) . len(submatch(1))/ge
normal! gg
let @q = "0xA!\<Esc>j"
normal! 500@q
write! edited
undo
undo
undo
write! undone
let list = map(range(20000), 'printf("%x", v:val * 7919 % 65537)')
let words = {}
for word in list
  let words[word] = get(words, word, 0) + 1
endfor
let report = [len(words), len(uniq(sort(copy(list)))), join(list[0:9], ' ')]
for i in range(50)
  new
  call setline(1, list[i * 100 : i * 100 + 99])
  %s/1/one /ge
  call add(report, line('$') . ' ' . search('one', 'n') . ' ' . strlen(join(getline(1, '$'))))
  bwipeout!
endfor
call writefile(report, 'report')
qall!
