// Package tool is the commands of partlogd beside serving: what Apache Kafka's own command line tools do, with their flags, for
// any broker. They talk to it by franz-go and by kmsg requests; verify and dump also read files.
package tool
