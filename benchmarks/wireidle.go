package main

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// idleConnections is how many connections that do nothing a broker holds.
const idleConnections = 10_000

// wireIdleCell measures what idle connections cost: resident memory of the broker's process for each, and the latency
// from end to end with them, beside that without (quiet_p50_us, quiet_p99_us).
func wireIdleCell(name string) cell {
	c := wireCell(name, wireIdle, 1, "partlog", "kfake")
	c.smaller = "bytes_each"
	return c
}

func wireIdle(e environment, b *broker) (_ sample, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return sample{}, err
	}
	if limit.Cur < idleConnections+500 {
		return sample{}, fmt.Errorf("this machine allows %d open files in a process, %d are needed", limit.Cur, idleConnections+500)
	}
	half := environment{dir: e.dir, duration: e.duration / 2}
	quiet, err := wireEndToEnd(half, b)
	if err != nil {
		return sample{}, err
	}
	before, err := b.resident()
	if err != nil {
		return sample{}, err
	}
	connections := make([]net.Conn, 0, idleConnections)
	defer func() {
		for _, c := range connections {
			err = errors.Join(err, c.Close())
		}
	}()
	// ApiVersions, version 0, correlation 0, no client id: each has been served once.
	ask := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xff, 0xff}
	answer := make([]byte, 64<<10)
	for range idleConnections {
		c, err := net.Dial("tcp", b.address)
		if err != nil {
			return sample{}, err
		}
		connections = append(connections, c)
		if _, err := c.Write(ask); err != nil {
			return sample{}, err
		}
		if _, err := c.Read(answer); err != nil {
			return sample{}, err
		}
	}
	after, err := b.resident()
	if err != nil {
		return sample{}, err
	}
	s, err := wireEndToEnd(half, b)
	if err != nil {
		return sample{}, err
	}
	s.extra = map[string]float64{
		"bytes_each":   float64(after-before) / idleConnections,
		"quiet_p50_us": quiet.hist.quantile(0.5), "quiet_p99_us": quiet.hist.quantile(0.99),
	}
	return s, nil
}
