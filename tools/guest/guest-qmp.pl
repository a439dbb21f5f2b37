#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# guest-qmp.pl SOCK COMMAND [ARGUMENTS-AS-JSON]: one QMP command, its answer as JSON on
# standard output. Exit 1 when QEMU refuses it. Events are skipped.
use strict;
use warnings;
use IO::Socket::UNIX;

@ARGV == 2 || @ARGV == 3 or die "usage: guest-qmp.pl SOCK COMMAND [JSON]\n";
my ($path, $command, $arguments) = @ARGV;
$SIG{ALRM} = sub { die "guest-qmp: no answer from '$path' after 30 s\n" };
alarm 30;
my $socket = IO::Socket::UNIX->new($path) or die "guest-qmp: connect '$path': $!\n";
$socket->autoflush(1);

sub ask
{
    my ($request) = @_;
    print $socket "$request\n";
    while (my $line = <$socket>) {
        next if $line =~ /^\{"timestamp"/ || $line =~ /^\{"QMP"/;
        return $line;
    }
    die "guest-qmp: '$path' was closed before the answer\n";
}

ask('{"execute":"qmp_capabilities"}');
my $rest = defined $arguments ? qq(,"arguments":$arguments) : '';
my $answer = ask(qq({"execute":"$command"$rest}));
print $answer;
exit($answer =~ /^\{"error"/ ? 1 : 0);
