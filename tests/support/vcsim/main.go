// SPDX-License-Identifier: Apache-2.0

// A vCenter played by the simulator of the govmomi library: a counterpart that was not
// written beside the client it tests. Built from Debian's packages alone.
//
//	vcsim -l 127.0.0.1:8989 -username user -password pass
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	listen := flag.String("l", "127.0.0.1:8989", "address")
	user := flag.String("username", "user", "account")
	password := flag.String("password", "pass", "its password")
	flag.Parse()

	model := simulator.VPX()
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove() // its datastores are folders in the temporary directory

	model.Service.TLS = &tls.Config{} // with the library's own certificate
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword(*user, *password)}
	server := model.Service.NewServer()
	defer server.Close()

	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
