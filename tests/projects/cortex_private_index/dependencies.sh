#!/bin/bash

cp pip.conf /etc/pip.conf
