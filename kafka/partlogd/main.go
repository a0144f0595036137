package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1   // what was asked for could not be done; the reason is on standard error
	exitUsage    = 2   // the command line, or a property file, does not make sense
	exitAtOnce   = 130 // a second signal came while the first was being obeyed
	programName  = "partlogd"
	readyMessage = "partlogd ready" // on standard output when all listeners take connections
)

// commands are looked up by functions that they call, so they are listed in init.
var commands []tool.Command

func init() {
	commands = append([]tool.Command{{Name: "serve", Summary: "serve brokers: what a command line without a command does", Run: serve}}, tool.Commands()...)
	commands = append(commands,
		tool.Command{Name: "storage", Summary: "format the directory of a node, as kafka-storage", Run: storage},
		tool.Command{Name: "record", Summary: "stand between clients and a real cluster and write down what they say", Run: record},
		tool.Command{Name: "replay", Summary: "answer clients with what a recording has", Run: replay},
		tool.Command{Name: "compare", Summary: "send the requests of a recording to a broker and show where its answers differ", Run: compare})
}

func main() {
	ctx, stop := untilSignal(context.Background(), os.Exit)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], tool.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM; the second one ends the process at once.
func untilSignal(parent context.Context, exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			exit(exitAtOnce)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}

// run does what a command line says and returns the exit code.
func run(ctx context.Context, args []string, s tool.Streams) int {
	do := serve
	if len(args) > 0 {
		switch args[0] {
		case "help":
			if len(args) > 1 {
				return run(ctx, []string{args[1], "--help"}, s)
			}
			args = []string{"--help"}
		case "version", "--version", "-version":
			fmt.Fprintln(s.Out, programName, version())
			return exitOK
		}
		if i := slices.IndexFunc(commands, func(c tool.Command) bool { return c.Name == args[0] }); i >= 0 {
			do, args = commands[i].Run, args[1:]
		}
	}
	return exitCode(do(ctx, args, s), s.Err)
}

// exitCode tells about an error, if it is one to tell about, and returns the code for it.
func exitCode(err error, w io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, syscall.EPIPE): // whoever read from us has had enough
		return exitOK
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "%s: %s\n", programName, line)
	}
	if _, ok := errors.AsType[*tool.UsageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// version is the module's version as the go command has stamped it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
