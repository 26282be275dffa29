# Hashes, sorting, regular expressions, deep structures, files and forks.
use strict;
use warnings;

my $state = 12345;
sub random { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return $state >> 8 }

my %count;
$count{ sprintf '%x', random() % 5000 }++ for 1 .. 200_000;
my @common = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print scalar(@common), " keys, first @common[0 .. 4]\n";

my $text = join ' ', map { "word$_=" . random() % 1000 } 1 .. 50_000;
my $sum = 0;
$sum += $1 while $text =~ /=(\d+)\b/g;
( my $changed = $text ) =~ s/(\d)(\d)/$2$1-/g;
print "sum $sum, changed ", length $changed, "\n";

sub tree { my $d = shift; return $d ? [ tree( $d - 1 ), "at $d", tree( $d - 1 ) ] : undef }
sub depth { my $t = shift; return $t ? 1 + depth( $t->[0] ) + depth( $t->[2] ) : 0 }
for ( 1 .. 4 ) { my $tree = tree(14); print 'nodes ', depth($tree), "\n" }

my $long = '';
$long .= chr( 33 + $_ % 90 ) x ( $_ % 17 ) for 1 .. 60_000;
print 'checksum ', unpack( '%32C*', $long ), "\n";
print join( ',', map { length } split /[A-F]+/, substr $long, 0, 3000 ), "\n";

my @children;
for my $n ( 1 .. 8 ) {
    pipe my $in, my $out or die;
    my $pid = fork // die;
    if ( !$pid ) {
        close $in;
        my %squares = map { $_ => $_ * $_ } 1 .. 5000 * $n;
        my $total = 0;
        $total += $_ for values %squares;
        print {$out} "child $n: $total\n";
        close $out;
        exit $n;
    }
    close $out;
    push @children, [ $pid, $in ];
}
for (@children) {
    my ( $pid, $in ) = @$_;
    print while <$in>;
    waitpid $pid, 0;
    print 'status ', $? >> 8, "\n";
}

open my $file, '>', 'lines' or die;
print {$file} "$_ ", 'x' x ( $_ % 300 ), "\n" for 1 .. 20_000;
close $file;
open $file, '<', 'lines' or die;
my @lines = reverse <$file>;
print scalar(@lines), ' ', length $lines[123], ' ', length join( '', @lines ), "\n";
print "done\n";
