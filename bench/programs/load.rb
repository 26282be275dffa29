# Objects, hashes, strings and arrays.
Record = Struct.new(:id, :name, :tags)
counts = Hash.new(0)
kept = []
16.times do |round|
  records = (1..30_000).map { |n| Record.new(n, "name #{n * 7919 % 10_007}", [n.to_s, n * 0.5]) }
  records.each { |r| counts[r.name] += 1 }
  kept << records.sort_by(&:name).first(2000)
  text = records.map(&:name).join(",")
  raise unless text.split(",").length == 30_000
end
raise unless counts.values.sum == 16 * 30_000
