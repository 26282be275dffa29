# Hashes of arrays, strings that grow, pattern matches and sorting.
use strict;
use warnings;
my (%count, @records);
for my $round (1 .. 14) {
    for my $n (1 .. 60000) {
        my $word = "word" . ($n * 7919 % 10007);
        $count{$word}++;
        push @{ $records[$n % 1000] }, { id => $n, text => $word x 3 };
    }
    my $text = join ' ', map { $_ * 3 } 1 .. 40000;
    my $sum = 0;
    $sum += length $1 while $text =~ /(\d+)/g;
    my @sorted = sort { $a->{text} cmp $b->{text} } @{ $records[7] };
    $#records = 500 if $round % 2;
}
my $total = 0;
$total += $_ for values %count;
die if $total != 840000;
