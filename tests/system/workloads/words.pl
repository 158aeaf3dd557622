# Fills a hash with strings, changes and deletes some, prints a digest of all in sorted order.
# words.pl COUNT
use strict;
use warnings;
use Digest::SHA;

my $count = shift;
my %words;
for my $i (1 .. $count) {
    $words{sprintf "key %08d", $i ^ 85} = "value $i " x (180 + $i % 90);
}
for my $key (sort keys %words) {
    my $length = length $words{$key};
    if ($length % 5 == 0) { delete $words{$key} }
    elsif ($length % 3 == 0) { $words{$key} .= "changed" }
}
my $digest = Digest::SHA->new(256);
$digest->add("$_=$words{$_}\n") for sort keys %words;
print "words $count ", scalar(keys %words), " ", $digest->hexdigest, "\n";
