package main

import "time"

// environment is what one run gets.
type environment struct {
	dir      string
	duration time.Duration
}

// contender is one system in one cell.
type contender struct {
	name       string
	durability string
	run        func(environment) (sample, error)
}

// cell is one workload that several systems run.
type cell struct {
	name       string
	contenders []contender
	// latency names the measure: the median latency instead of records per second.
	latency bool
	// smaller names the extra figure that is the measure instead, smaller being better.
	smaller string
	// cpu says that rows have the processor time of the broker per record, cpu_ns, and ours how it compares, cpu_ratio.
	cpu bool
	// note is what a reader of the rows must know besides.
	note string
}

// compare returns how much better a is than b: above 1 is better for both measures.
func (c cell) compare(a, b row) float64 {
	if c.smaller != "" {
		return b.Extra[c.smaller] / a.Extra[c.smaller]
	}
	if c.latency {
		return b.P50us / a.P50us
	}
	return a.RecordsPerS / b.RecordsPerS
}

// The levels of durability that a row names: what an acknowledged record survives.
const (
	inProcess = "memory"  // nothing: it is in the process's own buffers
	pageCache = "process" // a kill of the process
	onDisk    = "power"   // a power loss
)

func cells() []cell {
	return []cell{
		appendCell("append1-100B-nosync", shape{batch: 1, size: 100, workers: 1}),
		appendCell("append100-100B-nosync", shape{batch: 100, size: 100, workers: 1}),
		appendCell("append100-1KiB-nosync", shape{batch: 100, size: 1024, workers: 1}),
		appendCell("append1000-100B-nosync", shape{batch: 1000, size: 100, workers: 1}),
		sendAsyncCell("sendasync-100B-nosync", false),
		sendAsyncCell("sendasync-100B-sync", true),
		latency(appendCell("append1-1KiB-sync-w1", shape{batch: 1, size: 1024, workers: 1, sync: true})),
		appendCell("append1-1KiB-sync-w16", shape{batch: 1, size: 1024, workers: 16, sync: true}),
		appendCell("append1-1KiB-sync-w64", shape{batch: 1, size: 1024, workers: 64, sync: true}),
		appendCell("append1-1KiB-sync-w256", shape{batch: 1, size: 1024, workers: 256, sync: true}),
		appendCell("append1000-1KiB-sync", shape{batch: 1000, size: 1024, workers: 1, sync: true}),
		appendCell("parts16-1KiB-sync", shape{batch: 1, size: 1024, workers: 16, sync: true, partitions: 16}),
		readCell("read-1KiB-borrowed", true),
		readCell("read-1KiB-copied", false),
		consumeCell("consume-100B"),
		endToEndCell("e2e-100B-nosync", false),
		endToEndCell("e2e-100B-sync", true),
		rebalanceCell("group-100-members-rebalance", 100, 1000),
		readCommittedCell("read-committed-50pct-aborted"),
		txnCell("txn-100x100B-nosync", false),
		txnCell("txn-100x100B-sync", true),
		commitCell("commit-1-nosync", 1, false),
		commitCell("commit-64-sync", 64, true),
		loadCell("coordinator-load-1M-commits"),
		workersCell("workers-16-keys-1M"),
		openTailCell("open-1GB-tail"),
		openPartitionsCell("open-10000-partitions"),
		keyReadCell("key-read-100-events-of-10M"),
		compactCell("compact-1GB-10M-records", 1_000_000),
		compactCell("compact-1GB-10M-keys", 10_000_000),
		assignCell("assign-sticky-125x1250", 125, 1250, false),
		assignCell("assign-sticky-250x2500", 250, 2500, false),
		assignCell("assign-sticky-500x5000", 500, 5000, false),
		assignCell("assign-unequal-500x5000", 500, 5000, true),
		wireProduceCell("wire-produce-100B", 100, 1),
		wireProduceCell("wire-produce-100B-p16", 100, 16),
		wireProduceCell("wire-produce-1KiB", 1024, 1),
		wireProduceCell("wire-produce-1KiB-p16", 1024, 16),
		wireConsumeCell("wire-consume-100B", 100, 1),
		wireConsumeCell("wire-consume-100B-p16", 100, 16),
		wireConsumeCell("wire-consume-1KiB", 1024, 1),
		wireConsumeCell("wire-consume-1KiB-p16", 1024, 16),
		wireEndToEndCell("wire-e2e"),
		javaProduceCell("wire-java-produce"),
		javaConsumeCell("wire-java-consume"),
		javaEndToEndCell("wire-java-e2e"),
		wireFetchCell("wire-fetch-cpu"),
		wireIdleCell("wire-10000-idle-connections"),
		doubleStartCell("double-start"),
		forkCell("fork-1GB"),
		replProduceCell("repl3-produce-1KiB-all"),
		replSyncedCell("repl3-produce-1KiB-all-sync"),
		replEndToEndCell("repl3-e2e"),
		replFailoverCell("repl3-failover"),
		replCatchUpCell("repl3-catchup-1GB"),
		replIdleCell("repl-idle-1000-partitions", 1000),
		replMoveCell("control-10000-partitions-failover", 10_000),
	}
}

func latency(c cell) cell {
	c.latency = true
	return c
}

// appendCell compares acknowledged appends. A shared log with several workers has no raw row of its own kind: raw
// gives each worker a file, so it is shown only where partlog does too.
func appendCell(name string, s shape) cell {
	level := pageCache
	if s.sync {
		level = onDisk
	}
	add := func(c *cell, name, durability string, open opener, scan scanner) {
		c.contenders = append(c.contenders, contender{name, durability, appendRun(s, open, scan)})
	}
	c := cell{name: name}
	add(&c, "partlog", level, openPartlog, scanPartlog)
	if s.workers == 1 || s.partitions == s.workers {
		add(&c, "raw", level, openRaw, nil)
	}
	if s.partitions > 0 {
		return c // no rival has partitions with a file each in one process
	}
	add(&c, "tidwall", level, openTidwall, scanTidwall)
	add(&c, "bbolt", level, openBbolt, scanBbolt)
	add(&c, "nats", level, openNATS, scanNATS)
	if s.sync {
		add(&c, "raft-wal", onDisk, openRaftWAL, scanRaftWAL)
		add(&c, "pebble", onDisk, openPebble, scanPebble)
		add(&c, "kfake", onDisk, openKfake, scanKfake)
	} else {
		add(&c, "pebble", inProcess, openPebble, scanPebble)
		add(&c, "kfake", pageCache, openKfake, scanKfake)
	}
	return c
}
