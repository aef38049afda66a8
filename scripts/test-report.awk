# Reads the TAP of a tap run (files at depth 0, their tests indented by four spaces) and prints one line per file and
# the whole story of what failed. Writes `passed failed files` into the file COUNTS, and `file passed failed` for each file
# that failed into the file WRONG. Skipped tests count as neither.
function keep(line) { if (line !~ /^ *ok / && line !~ /^ *$/) story = story line "\n" }
/^# Subtest: / { inFile = 1; passedHere = failedHere = skippedHere = 0; block = story = ""; telling = crashed = 0; next }
/^    (not )?ok / {
  telling = 0
  if (/# (SKIP|TODO)/) skippedHere++
  else if (/^    ok /) passedHere++
  else { failedHere++; story = story block; keep($0); telling = 1 }
  block = ""
  next
}
/^(not )?ok [0-9]+ - / {
  files++
  name = $0
  sub(/^(not )?ok [0-9]+ - /, "", name)
  file = name
  sub(/ # time=.*/, "", file)
  sub(/ # time=/, " (", name)
  sub(/ms$/, " ms)", name)
  if (/^not ok/ && failedHere == 0) { failedHere = crashed = 1; story = story block }
  if (/^ok/ && passedHere + failedHere + skippedHere == 0) { failedHere = 1; story = story "    no test in this file\n" }
  printf "%s%s - %s: %d passed, %d failed\n", story, failedHere ? "not ok" : "ok", name, passedHere, failedHere
  if (failedHere) print file, passedHere, failedHere > WRONG
  fflush()
  passed += passedHere
  failed += failedHere
  inFile = 0
  next
}
/^    # Subtest: / { telling = 0; block = "" }
inFile && telling { keep($0); next }
inFile { if ($0 !~ /^ *ok /) block = block $0 "\n"; next }
crashed && !/^#/ { print }
/^Bail out!/ { print; failed++ }
END { print passed + 0, failed + 0, files + 0 > COUNTS }
