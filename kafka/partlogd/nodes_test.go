package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

// What property files and flags amount to: listeners, ids, directory, sync mode, notes, or the error.
func TestPropertyFilesAndFlagsAmountToACluster(t *testing.T) {
	datadriven.Walk(t, "testdata/config", func(t *testing.T, path string) {
		dir := t.TempDir()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				if err := os.WriteFile(filepath.Join(dir, d.CmdArgs[0].Key), []byte(d.Input), 0o600); err != nil {
					return err.Error()
				}
				return ""
			case "partlogd":
				var args []string
				for line := range strings.SplitSeq(d.Input, "\n") {
					if line == "" {
						continue
					}
					if strings.HasSuffix(line, ".properties") {
						line = filepath.Join(dir, line)
					}
					args = append(args, line)
				}
				return strings.ReplaceAll(described(args), dir+"/", "")
			}
			return "there is no " + d.Cmd
		})
	})
}

func described(args []string) string {
	var b strings.Builder
	o, err := parseOptions(args, &b)
	var c *cluster
	if err == nil {
		c, err = readCluster(o)
	}
	if err == nil {
		err = c.checkUsers(o)
	}
	if err != nil {
		kind := "failed"
		if _, ok := errors.AsType[*tool.UsageError](err); ok {
			kind = "usage"
		}
		return kind + ": " + err.Error() + "\n"
	}
	for _, n := range c.nodes {
		fmt.Fprintf(&b, "node %d", n.ID)
		if n.Rack != "" {
			fmt.Fprintf(&b, " in %s", n.Rack)
		}
		fmt.Fprintln(&b)
		for _, l := range n.Listeners {
			fmt.Fprintf(&b, "  %s %s %s", l.Name, l.Protocol, l.Bind)
			if l.Advertised != "" {
				fmt.Fprintf(&b, " as %s", l.Advertised)
			}
			if l.Mechanisms != nil {
				fmt.Fprintf(&b, " %s", l.Mechanisms)
			}
			if l.TLS != nil {
				fmt.Fprintf(&b, " tls")
			}
			fmt.Fprintln(&b)
		}
	}
	fmt.Fprintf(&b, "dir %q\n", c.dir)
	d := &daemon{options: o, cluster: c}
	s := d.storeConfig()
	fmt.Fprintf(&b, "sync %s, partitions %d, retention %s\n", s.Sync, s.Topics.Partitions, s.Topics.RetentionAge)
	for _, k := range slices.Sorted(maps.Keys(s.Topics.Extra)) {
		fmt.Fprintf(&b, "  %s=%s\n", k, s.Topics.Extra[k])
	}
	for _, t := range o.topics {
		fmt.Fprintf(&b, "topic %s %d %d\n", t.Name, t.Partitions, t.ReplicationFactor)
	}
	for _, u := range o.users {
		fmt.Fprintf(&b, "user %s %s by %s\n", u.name, kafka.Password(u.password), u.mechanism)
	}
	c.tell(&b)
	return b.String()
}
