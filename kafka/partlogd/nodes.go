package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

// Kafka's default of log.dir, for a property file that names no directory.
const kafkasDir = "/tmp/kafka-logs"

// localListener is where a broker without a listeners property listens: where Kafka listens, but nobody else can reach it.
const localListener = "127.0.0.1:9092"

// cluster is what property files and flags amount to.
type cluster struct {
	nodes  []*kafka.Node
	common map[string]string // properties of all nodes
	dir    string            // of the store; empty: memory
	notes  []string          // to be told when it starts
}

// readCluster reads the property files and lays the flags over them.
func readCluster(o *options) (*cluster, error) {
	c := &cluster{}
	files := o.files
	if len(files) == 0 {
		files = []string{""}
	}
	seen := map[string]bool{}
	for _, file := range files {
		props, err := readFile(file)
		if err != nil {
			return nil, err
		}
		maps.Copy(props, o.overrides)
		local := o.settle(props)
		node, err := kafka.ParseNode(props)
		if err != nil {
			return nil, &tool.UsageError{Err: inFile(file, err)}
		}
		if local {
			c.note(&seen, file, "listeners is not set: only this machine reaches "+localListener+" (Kafka would listen on all addresses)", o)
		}
		for _, w := range node.Warnings {
			if strings.HasPrefix(w.Property, "log.dir") && (o.dir != "" || o.memory) {
				continue
			}
			c.note(&seen, file, w.Property+" "+w.Text, nil)
		}
		c.nodes = append(c.nodes, node)
	}
	c.shared()
	if err := c.checkQuorum(o); err != nil {
		return nil, err
	}
	return c, c.place(o)
}

// settle completes the properties of one broker from the flags, and tells whether its listener is the local one by default.
func (o *options) settle(props map[string]string) bool {
	if o.dir != "" {
		delete(props, "log.dir")
		props["log.dirs"] = o.dir
	}
	if _, ok := props["listeners"]; ok {
		return false
	}
	protocol := "PLAINTEXT"
	if len(o.users) > 0 {
		protocol = "SASL_PLAINTEXT"
		if _, ok := props["sasl.enabled.mechanisms"]; !ok {
			props["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
		}
	}
	props["listeners"] = protocol + "://" + localListener
	return true
}

func readFile(file string) (map[string]string, error) {
	if file == "" {
		return map[string]string{}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, tool.Usagef("property file %w", err)
	}
	defer f.Close()
	props, err := kafka.ReadProperties(f)
	if err != nil {
		return nil, tool.Usagef("%s: %w", file, err)
	}
	return props, nil
}

func inFile(file string, err error) error {
	if file == "" {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

// note keeps something to tell, once however many files say it. o is given for what is worth telling only about a file.
func (c *cluster) note(seen *map[string]bool, file, text string, o *options) {
	if o != nil && file == "" || (*seen)[text] {
		return
	}
	(*seen)[text] = true
	if file != "" {
		text = file + ": " + text
	}
	c.notes = append(c.notes, text)
}

// shared finds the properties that all nodes have alike.
func (c *cluster) shared() {
	c.common = maps.Clone(c.nodes[0].Properties)
	for _, n := range c.nodes[1:] {
		maps.DeleteFunc(c.common, func(k, v string) bool {
			other, ok := n.Properties[k]
			return !ok || other != v
		})
	}
}

// place decides where the store is.
func (c *cluster) place(o *options) error {
	if o.memory {
		return nil
	}
	c.dir = c.nodes[0].Dir
	if c.dir == "" && len(o.files) > 0 {
		c.dir = kafkasDir
		c.notes = append(c.notes, "log.dirs is not set: the store is in "+kafkasDir+", Kafka's default; --dir or --memory says otherwise")
	}
	for i, n := range c.nodes[1:] {
		if n.Dir != "" && n.Dir != c.dir {
			c.notes = append(c.notes, fmt.Sprintf("%s: log.dirs=%s is not used: the brokers share one store, in %s", o.files[i+1], n.Dir, c.dir))
		}
	}
	return nil
}

// tell writes the notes.
func (c *cluster) tell(w io.Writer) {
	for _, n := range c.notes {
		fmt.Fprintf(w, "%s: %s\n", programName, n)
	}
}

// listenerNames are those of all nodes, once each, in the order of the files.
func (c *cluster) listenerNames() (names []string) {
	for _, n := range c.nodes {
		for _, l := range n.Listeners {
			if !slices.Contains(names, l.Name) {
				names = append(names, l.Name)
			}
		}
	}
	return names
}
