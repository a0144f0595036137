package main

import "time"

// The repl3 cells replicate one partition to three nodes on this machine and count what is acknowledged by the in-sync replicas of all three
// (acks=all, min.insync.replicas 2; JetStream: a majority of three). Ours and JetStream's nodes are in this process, with files of their own
// and loopback sockets between them, and the client speaks to the leader in process; Apache Kafka's are three processes, its client is franz-go.
const (
	replSize     = 1024
	replInFlight = 8192            // records that a producer may have unacknowledged
	replWarm     = 5 * time.Second // of Java's virtual machines
)

func replCell(name string, contenders ...contender) cell {
	c := cell{name: name}
	for _, one := range contenders {
		if one.name != "kafka" || noJava() == "" {
			c.contenders = append(c.contenders, one)
		}
	}
	return c
}

func replProduceCell(name string) cell {
	return replCell(name,
		contender{"partlog", pageCache, replProducePartlog},
		contender{"nats", pageCache, func(e environment) (sample, error) { return replProduceNATS(e, false) }},
		contender{"kafka", pageCache, func(e environment) (sample, error) { return replProduceKafka(e, "") }})
}

// replSyncedCell compares with stores that are alone, of which three share the device as the three copies do.
func replSyncedCell(name string) cell {
	return replCell(name,
		contender{"partlog", onDisk, replSyncedPartlog},
		contender{"alone", onDisk, func(e environment) (sample, error) { return replSyncedAlone(e, 1) }},
		contender{"alone x 3", onDisk, func(e environment) (sample, error) { return replSyncedAlone(e, 3) }})
}

func replEndToEndCell(name string) cell {
	return latency(replCell(name,
		contender{"partlog", pageCache, replEndToEndPartlog},
		contender{"nats", pageCache, replEndToEndNATS},
		contender{"kafka", pageCache, replEndToEndKafka}))
}

func replFailoverCell(name string) cell {
	return latency(replCell(name, contender{"partlog", pageCache, replFailover}))
}
