variable "arguments" {
  type        = string
  description = "What provision is called with, behind --image. Files are named as they are in the directory of files."
}

variable "files" {
  type        = string
  default     = ""
  description = "A directory: the public key, the allowlist and what else the arguments name. Ends without a slash."
}

variable "program" {
  type        = string
  default     = "packaging/ami/provision"
  description = "Where this project's provision is, from where Packer is called."
}

variable "validate" {
  type        = string
  default     = "--running"
  description = "What validate is called with after the restart: --installed for a machine that is no parent on EC2."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "name" {
  type        = string
  default     = "nitro-enclaves-parent"
  description = "The images are called so, with the system, the machine and the time."
}

variable "version" {
  type        = string
  default     = "unknown"
  description = "Of the package, for the tags; `make ami` gives it."
}

variable "kms_key_id" {
  type        = string
  default     = ""
  description = "The key that the snapshots are encrypted with. Empty: the account's own for EBS."
}

variable "ami_users" {
  type        = list(string)
  default     = []
  description = "Accounts that may launch the images. They need the use of the key, too."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Empty: one of the default VPC."
}

# The one that the images are built on must be able to have enclaves: 4 vCPUs, or 2 on Graviton.
variable "instance_type_x86_64" {
  type    = string
  default = "m6i.xlarge"
}

variable "instance_type_arm64" {
  type    = string
  default = "m6g.large"
}

# Amazon Linux 2027 is a preview: look up how its images are called when it is released.
variable "source_al2023" {
  type    = string
  default = "al2023-ami-2023.*"
}

variable "source_al2027" {
  type    = string
  default = "al2027-ami-2027.*"
}

# A machine that is there already, in place of an instance: -only=null.machine
variable "host" {
  type    = string
  default = "127.0.0.1"
}

variable "port" {
  type    = number
  default = 22
}

variable "ssh_private_key_file" {
  type    = string
  default = ""
}
